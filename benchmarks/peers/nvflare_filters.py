# SPDX-License-Identifier: Apache-2.0
"""What NVFlare's quantisation filters make of one update, in bytes, as NVFlare serialises it.

Run by the Python of the environment `nvflare-filters`: nvflare_filters.py UPDATE.npz. Prints one JSON value: by filter,
the bytes, and the error of a filter that does not run on this machine as it is. Filters for 8 and 4 bits put each
tensor on a GPU before they do anything; where there is none, their bytes are those of the filter without that step.
"""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from nvflare.apis.fl_context import FLContext
from nvflare.app_common.abstract.fl_model import FLModel, ParamsType
from nvflare.app_common.decomposers.numpy_decomposers import NumpyArrayDecomposer
from nvflare.app_common.utils.fl_model_utils import FLModelUtils
from nvflare.app_opt.pt.quantization.quantizer import ModelQuantizer
from nvflare.fuel.utils import fobs

FILTERS = ("float16", "blockwise8", "float4", "normfloat4", "adaquant")


def main() -> None:
    logging.disable(logging.CRITICAL)
    fobs.register(NumpyArrayDecomposer)
    with np.load(Path(sys.argv[1])) as stored:
        update = {name: stored[name] for name in stored.files}
    to_gpu = torch.Tensor.cuda
    found: dict[str, dict[str, Any]] = {}
    for name in FILTERS:
        torch.Tensor.cuda = to_gpu  # type: ignore[method-assign]
        try:
            found[name] = {"bytes": size(update, name), "error": None}
        except Exception as error:
            said = f"{type(error).__name__}: {str(error).splitlines()[0]}"
            torch.Tensor.cuda = lambda tensor: tensor  # type: ignore[assignment,method-assign,misc]
            found[name] = {"bytes": size(update, name), "error": said}
    print(json.dumps(found))


def size(update: dict[str, np.ndarray], kind: str) -> int:
    """Bytes of ``update`` behind the filter ``kind``."""
    params = {name: values.copy() for name, values in update.items()}
    model = FLModel(params_type=ParamsType.DIFF, params=params, metrics={"accuracy": 0.5}, current_round=2)
    message = FLModelUtils.to_shareable(model)
    return len(fobs.dumps(ModelQuantizer(kind).process(message, FLContext())))


if __name__ == "__main__":
    main()
