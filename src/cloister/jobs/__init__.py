# SPDX-License-Identifier: Apache-2.0
"""What is trained (`jobs/*.yaml`), and the adapter that such a job exchanges."""

from cloister.jobs.adapter import AdapterLayout, TensorSpec, adapter_config, initial_adapter, layout_of
from cloister.jobs.code import Code, code_of
from cloister.jobs.model import BaseModelRef, DatasetRef, FederationPlan, Job, Lora, Method, Selection, Training

__all__ = [
    "AdapterLayout",
    "BaseModelRef",
    "Code",
    "DatasetRef",
    "FederationPlan",
    "Job",
    "Lora",
    "Method",
    "Selection",
    "TensorSpec",
    "Training",
    "adapter_config",
    "code_of",
    "initial_adapter",
    "layout_of",
]
