# SPDX-License-Identifier: Apache-2.0
"""The class of each pixel of a picture, or of each voxel of a volume."""

from __future__ import annotations

import torch
from monai.losses import DiceCELoss
from monai.metrics import compute_dice
from monai.networks import one_hot

from cloister.training.image_trainer import ImageTrainer


class ImageSegmenter(ImageTrainer):
    """Network and records of one job at one site, see `ImageTrainer`.

    A job's own trainer may derive from it and override a method, `loss` above all.
    """

    def loss(self, said: torch.Tensor, aims: torch.Tensor) -> torch.Tensor:
        """What training minimises: soft Dice loss over all classes plus mean cross-entropy in nats, as MONAI adds them.

        Args:
            said: by the network, shape (n, classes, *size), float32.
            aims: the right classes, shape (n, 1, *size), int64.
        """
        loss: torch.Tensor = DiceCELoss(to_onehot_y=True, softmax=True)(said, aims)
        return loss

    def compare(self, said: torch.Tensor, aims: torch.Tensor) -> torch.Tensor:
        """Dice of each class but the background, 2 |A ∩ B| / (|A| + |B|), as MONAI computes it.

        Args:
            said: as for `loss`; the likeliest class of each voxel counts.
            aims: as for `loss`.

        Returns:
            Shape (n, classes - 1); NaN for a class that a record's mask lacks.
        """
        classes = len(self.setup.labels)
        pair = (one_hot(each, num_classes=classes) for each in (said.argmax(dim=1, keepdim=True), aims))
        found: torch.Tensor = compute_dice(*pair, include_background=False, ignore_empty=True)
        return found

    def measure(self, compared: torch.Tensor) -> dict[str, float | None]:
        """`dice`, in the job's form of images: the mean over classes of the mean over records that have the class.

        It has no value where no mask has any class but the background.

        Args:
            compared: what `compare` gave of the validation records.
        """
        by_class = compared.double().nanmean(dim=0)
        return {"dice": None if bool(by_class.isnan().all()) else float(by_class.nanmean())}
