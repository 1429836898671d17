# SPDX-License-Identifier: Apache-2.0
"""Tests of cloister.provisioning: a real authority, real certificates, real handshakes."""
