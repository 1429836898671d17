# SPDX-License-Identifier: Apache-2.0
"""What a machine needs to keep a server or a site running: made from the documents, as files to review.

A service is a value, files are values made of it, and one module writes them. Nothing here reads a key, and nothing
that is made holds a secret: a file names where one is found.
"""
