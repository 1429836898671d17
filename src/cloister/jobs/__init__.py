# SPDX-License-Identifier: Apache-2.0
"""What is trained (`jobs/*.yaml`), and the adapter that such a job exchanges."""

from cloister.jobs.adapter import AdapterLayout, TensorSpec, finished_adapter, initial_adapter, rank_in
from cloister.jobs.architecture import Architecture
from cloister.jobs.code import Code, code_of
from cloister.jobs.dataset import DatasetRef
from cloister.jobs.imaging import Imaging
from cloister.jobs.layout import layout_of
from cloister.jobs.method import Full, Lora, Method
from cloister.jobs.metrics import METRICS, Metric
from cloister.jobs.model import BaseModelRef, FederationPlan, Job, Selection, Training
from cloister.jobs.peft_config import adapter_config
from cloister.jobs.tasks import FORMS, ROLE_KINDS, Task

__all__ = [
    "FORMS",
    "METRICS",
    "ROLE_KINDS",
    "AdapterLayout",
    "Architecture",
    "BaseModelRef",
    "Code",
    "DatasetRef",
    "FederationPlan",
    "Full",
    "Imaging",
    "Job",
    "Lora",
    "Method",
    "Metric",
    "Selection",
    "Task",
    "TensorSpec",
    "Training",
    "adapter_config",
    "code_of",
    "finished_adapter",
    "initial_adapter",
    "layout_of",
    "rank_in",
]
