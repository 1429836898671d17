# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cloister.errors import RecordsError, TrainerError
from cloister.training.bundle import NETWORKS, bundled_network, network_definition
from tests.training.pictures import UNET, VIT, write_bundle, write_configuration


@pytest.mark.parametrize("target", ["UNet", "monai.networks.nets.UNet"])
def test_reads_a_network_by_its_values(tmp_path: Path, target: str) -> None:
    definition = {**UNET, "_target_": target, "_desc_": "small", "act": ["relu", {"inplace": True}]}
    folder = write_configuration(tmp_path, {"network_def": definition, "device": "$torch.device('cpu')"})
    name, arguments = network_definition(folder)
    assert name == "UNet"
    assert arguments["channels"] == [4, 8]
    assert arguments["act"] == ["relu", {"inplace": True}]
    assert not [key for key in arguments if key.startswith("_")]


def test_the_training_configuration_serves_where_there_is_no_other(tmp_path: Path) -> None:
    assert network_definition(write_configuration(tmp_path, {"network_def": VIT}, "train.json"))[0] == "ViT"


def test_every_network_of_the_list_is_monais() -> None:
    from monai.networks import nets

    assert all(isinstance(getattr(nets, name), type) for name in NETWORKS)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ({}, "no `network_def`"),
        ({"network_def": "@other"}, "no `network_def`"),
        ({"network_def": {**UNET, "_target_": "subprocess.run"}}, "not known"),
        ({"network_def": {**UNET, "_target_": "monai.bundle.run"}}, "not known"),
        ({"network_def": {**UNET, "_target_": "monai.networks.nets.os.system"}}, "not known"),
        ({"network_def": {**UNET, "_target_": "$__import__('os')"}}, "not known"),
        ({"network_def": {**UNET, "_target_": ["UNet"]}}, "not known"),
        ({"network_def": {**UNET, "out_channels": "$__import__('os').system('id')"}}, "expression"),
        ({"network_def": {**UNET, "out_channels": "@labels"}}, "expression"),
        ({"network_def": {**UNET, "out_channels": "%train.json#labels"}}, "expression"),
        ({"network_def": {**UNET, "channels": [4, "$8"]}}, "expression"),
        ({"network_def": {**UNET, "act": {"_target_": "torch.nn.ReLU"}}}, "no argument's name"),
        ({"network_def": {**UNET, "act": ["relu", [{"_target_": "os.system"}]]}}, "no argument's name"),
        ({"network_def": {**UNET, "_disabled_": True}}, "no argument's name"),
        ({"network_def": {**UNET, "_target_": "DenseNet121", "pretrained": True}}, "from elsewhere"),
        ({"network_def": {**UNET, "act": [[[[[[[[[[0]]]]]]]]]]}}, "too deep"),
        ("[" * 100_000, "no readable JSON"),
        ("{", "no readable JSON"),
        ("[]", "no mapping"),
        ('"' + "a" * (1 << 20) + '"', "no readable JSON"),
    ],
)
def test_refuses_what_would_have_to_be_evaluated(tmp_path: Path, content: Any, sentence: str) -> None:
    with pytest.raises(TrainerError, match=sentence) as refusal:
        network_definition(write_configuration(tmp_path, content))
    assert "import" not in str(refusal.value)


def test_refuses_a_folder_that_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(TrainerError, match="no MONAI bundle"):
        network_definition(tmp_path)


@pytest.mark.slow
def test_loads_the_weights_that_lie_beside(tmp_path: Path) -> None:
    import safetensors.torch

    network = bundled_network(write_bundle(tmp_path, UNET))
    stored = safetensors.torch.load_file(tmp_path / "models" / "model.safetensors")
    assert all(network.state_dict()[name].equal(value) for name, value in stored.items())


@pytest.mark.slow
def test_a_weight_with_several_names_is_stored_once(tmp_path: Path) -> None:
    import safetensors.torch

    definition = {"_target_": "DynUNet", "spatial_dims": 3, "in_channels": 1, "out_channels": 2, "filters": [4, 8, 8]}
    sizes = {"kernel_size": [3, 3, 3], "strides": [1, 2, 2], "upsample_kernel_size": [2, 2]}
    network = bundled_network(write_bundle(tmp_path, {**definition, **sizes}))
    weights = tmp_path / "models" / "model.safetensors"
    stored = safetensors.torch.load_file(weights)
    assert len(stored) < len(network.state_dict())
    assert all(network.state_dict()[name].equal(value) for name, value in stored.items())
    safetensors.torch.save_file(dict(list(stored.items())[1:]), weights)
    with pytest.raises(TrainerError, match="differs or is missing"):
        bundled_network(tmp_path)


@pytest.mark.slow
def test_refuses_weights_of_another_network(tmp_path: Path) -> None:
    write_bundle(tmp_path, UNET)
    with pytest.raises(TrainerError, match=r"not those of its network: `model\.1"):
        bundled_network(write_configuration(tmp_path, {"network_def": {**UNET, "channels": [4, 16]}}))
    with pytest.raises(TrainerError, match="MONAI builds no `UNet`"):
        bundled_network(write_configuration(tmp_path, {"network_def": {**UNET, "made_up": 1}}))


@pytest.mark.slow
def test_weights_are_safetensors_and_nothing_else(tmp_path: Path) -> None:
    import torch

    write_bundle(tmp_path, UNET)
    weights = tmp_path / "models" / "model.safetensors"
    torch.save({"a": torch.zeros(1)}, weights)  # a pickle by the right name
    with pytest.raises(RecordsError, match="not safetensors"):
        bundled_network(tmp_path)
    weights.unlink()
    torch.save({"a": torch.zeros(1)}, tmp_path / "models" / "model.pt")
    with pytest.raises(RecordsError, match="cannot be read"):
        bundled_network(tmp_path)
    assert json.loads((tmp_path / "configs" / "inference.json").read_text())["network_def"]["_target_"] == "UNet"
