# SPDX-License-Identifier: Apache-2.0
"""Tables that lie in databases: SQLite and PostgreSQL, and a row filter as a WHERE clause."""
