# SPDX-License-Identifier: Apache-2.0
"""The peers that benchmarks run beside Cloister: their environments, and the same null job written for each."""
