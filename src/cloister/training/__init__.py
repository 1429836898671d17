# SPDX-License-Identifier: Apache-2.0
"""What runs inside the sandbox: the only importer of PyTorch, transformers and PEFT.

Start it with ``python -m cloister.training``; it speaks `cloister.messages` over its standard input and output.
"""
