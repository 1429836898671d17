# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest
from nvflare.fuel.f3.drivers.driver_params import DriverParams

from cloister.certificates import PrivateKey
from cloister.errors import ProvisioningError
from cloister.flare import server_credentials as module
from cloister.flare.server_credentials import CredentialFiles, server_credentials
from cloister.flare.state import State
from tests.flare.renewed import renewed
from tests.flare.signed_jobs import provisioned
from tests.flare.wire import credentials_in


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return provisioned(tmp_path)


@pytest.fixture
def files(root: Path) -> CredentialFiles:
    params = credentials_in(State(root).server, "server")
    return CredentialFiles.of(params, DriverParams.SERVER_KEY, DriverParams.SERVER_CERT)


def test_what_is_on_disk_is_read_once_and_again_as_it_changes(root: Path, files: CredentialFiles) -> None:
    first = files.changed()
    assert first is not None and first.fit()
    assert files.workspace == State(root).server
    assert files.changed() is None
    files.certificate.write_bytes(renewed(root, "coordinator"))
    latest = files.changed()
    assert latest is not None and latest.certificate != first.certificate and latest.key == first.key
    assert files.changed() is None


def test_a_second_root_is_a_change(files: CredentialFiles) -> None:
    first = files.changed()
    assert first is not None
    files.roots.write_bytes(first.roots + first.roots)
    latest = files.changed()
    assert latest is not None and latest.roots == first.roots * 2


def test_while_they_do_not_fit_the_earlier_ones_count(root: Path, files: CredentialFiles) -> None:
    assert files.changed() is not None
    before = files.key.read_bytes()
    PrivateKey.generate().write(files.key.with_name("next.key"))
    files.key.with_name("next.key").replace(files.key)
    assert files.changed() is None
    assert files.changed() is None
    files.key.write_bytes(before)
    assert files.changed() is not None


def test_a_key_that_others_can_read_is_not_used(files: CredentialFiles) -> None:
    files.key.chmod(0o644)
    with pytest.raises(ProvisioningError, match="read by others"):
        files.read()


@pytest.mark.parametrize("missing", [DriverParams.SERVER_KEY, DriverParams.SERVER_CERT, DriverParams.CA_CERT])
def test_files_that_nobody_names_are_not_guessed(root: Path, missing: DriverParams) -> None:
    params = credentials_in(State(root).server, "server")
    del params[missing.value]
    with pytest.raises(ProvisioningError):
        server_credentials(params)


def test_a_server_does_not_listen_with_a_certificate_of_another_key(root: Path) -> None:
    params = credentials_in(State(root).server, "server")
    Path(params[DriverParams.SERVER_KEY.value]).unlink()
    PrivateKey.generate().write(Path(params[DriverParams.SERVER_KEY.value]))
    with pytest.raises(ProvisioningError, match="does not belong to its key"):
        server_credentials(params)


def test_a_renewal_that_cannot_be_read_leaves_the_earlier_files_in_use(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetchers = []
    made = module.grpc.dynamic_ssl_server_credentials
    monkeypatch.setattr(
        module.grpc,
        "dynamic_ssl_server_credentials",
        lambda first, fetch, **how: fetchers.append((fetch, how)) or made(first, fetch, **how),
    )
    params = credentials_in(State(root).server, "server")
    assert server_credentials(params)
    fetch, how = fetchers[0]
    assert how == {"require_client_authentication": True}
    assert fetch() is None
    certificate = Path(params[DriverParams.SERVER_CERT.value])
    whole = certificate.read_bytes()
    for damage in (b"", b"nonsense"):
        certificate.write_bytes(damage)
        assert fetch() is None
    certificate.unlink()
    assert fetch() is None
    certificate.write_bytes(whole)
    assert fetch() is not None
