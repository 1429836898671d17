# SPDX-License-Identifier: Apache-2.0
"""Every participant is kept, every line has its word, and what comes out passes `cloister check`."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml

from cloister.documents import Document, load
from cloister.errors import InvalidDocumentsError
from cloister.nvflare_project import Choices, Imported, Outcome, convert, parse_project, report
from cloister.repository import coverage_problems, load_repository
from cloister.roster import Federation, Role
from tests.nvflare_project.projects import ACCEPTED, OLDER, PLACEHOLDERS, PLAIN, REFUSED, with_client

TODAY = date(2026, 11, 27)
REAL = Path(__file__).parents[3] / "shared" / "data" / "nvflare_project_yml"
READABLE = {**ACCEPTED, **OLDER}


def imported(text: str, choices: Choices | None = None) -> Imported:
    return convert(parse_project(text.encode(), "project.yml"), choices or Choices(), TODAY)


def written(result: Imported, folder: Path) -> Document[Federation]:
    """The documents on disk, as `cloister check` reads them; the roster."""
    for name, text in result.documents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    repo = load_repository(folder)
    assert coverage_problems(repo) == []
    return repo.federation


def lines_that_say_something(text: str) -> set[int]:
    """The line of every key, and of every plain item of a list, as YAML's own parser finds them."""
    found: set[int] = set()

    def walk(node: yaml.Node) -> None:
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                found.add(key.start_mark.line + 1)
                walk(value)
        elif isinstance(node, yaml.SequenceNode):
            for item in node.value:
                walk(item)
        else:
            found.add(node.start_mark.line + 1)

    walk(yaml.compose(text))
    # A block of text begins on the line behind its key's.
    return found


def participants(text: str) -> Iterator[tuple[str, str]]:
    for each in yaml.safe_load(text)["participants"]:
        yield each["name"], each["type"]


def reasons(result: Imported) -> Mapping[str, str]:
    return {each.key: each.why for each in result.changes if each.outcome is not Outcome.KEPT}


def real_files() -> list[Any]:
    if not REAL.is_dir():
        missing = pytest.mark.skip(reason="the real project files are not here: ../shared/data/nvflare_project_yml")
        return [pytest.param(REAL / "missing", marks=missing)]
    return [pytest.param(path, id=path.name) for path in sorted(REAL.iterdir())]


@pytest.mark.parametrize("text", READABLE.values(), ids=READABLE)
def test_every_participant_is_kept_or_is_of_a_kind_that_there_is_not(text: str, tmp_path: Path) -> None:
    result = imported(text)
    kept = {each.was for each in result.kept}
    dropped = {name for name, kind in participants(text) if kind in ("relay", "overseer")} | {"server2"}
    assert kept >= {name for name, _ in participants(text)} - dropped
    assert not kept & dropped
    roster = written(result, tmp_path).value
    named = {roster.server.name, *(site.name for site in roster.sites), *(person.name for person in roster.people)}
    assert named == {each.name for each in result.kept}


@pytest.mark.parametrize("text", READABLE.values(), ids=READABLE)
def test_every_line_has_its_word(text: str) -> None:
    changes = imported(text).changes
    assert {each.line for each in changes} >= lines_that_say_something(text)
    for each in changes:
        assert each.why or each.outcome is Outcome.KEPT
        assert each.became or each.outcome is not Outcome.CHANGED
        assert "nothing here corresponds" not in each.why


@pytest.mark.parametrize("path", real_files())
def test_real_projects_come_over_whole(path: Path, tmp_path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    result = imported(text)
    assert [each.was for each in result.kept] == [name for name, _ in participants(text)]
    assert {each.line for each in result.changes} >= lines_that_say_something(text)
    page = report(result, TODAY)
    for each in result.changes:
        if each.outcome is not Outcome.KEPT:
            assert f"| {result.file}:{each.line} |" in page
    written(result, tmp_path)


@pytest.mark.parametrize(("text", "line", "sentence"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_held_is_refused_with_its_line(text: str, line: int, sentence: str) -> None:
    with pytest.raises(InvalidDocumentsError) as caught:
        imported(text)
    assert any(each.line == line and sentence in str(each) for each in caught.value.problems), str(caught.value)
    assert all(each.file == "project.yml" for each in caught.value.problems)


@pytest.mark.parametrize(("found", "line"), PLACEHOLDERS.items())
def test_a_placeholder_is_never_taken_for_a_name(found: str, line: str) -> None:
    with pytest.raises(InvalidDocumentsError) as caught:
        imported(PLAIN.replace("name: site-1", line, 1))
    (problem,) = caught.value.problems
    assert (problem.line, f"`{found}` was never filled in" in problem.message) == (10, True)


ODD = [
    None,
    True,
    0,
    -1,
    10**17,
    1.5,
    "",
    " ",
    "\n",
    "x",
    "é",
    "\u202e",
    "a" * 300,
    "| `x` |",
    [],
    ["a", 1],
    {},
    {"a": {"b": []}},
]


@pytest.mark.slow
@pytest.mark.parametrize("text", READABLE.values(), ids=READABLE)
def test_whatever_stands_in_a_place_is_taken_over_or_refused(text: str, tmp_path: Path) -> None:
    dice = random.Random(text)

    def places(value: Any) -> Iterator[tuple[Any, Any]]:
        pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        for key, inner in list(pairs):
            yield value, key
            yield from places(inner)

    for number in range(40):
        tree = yaml.safe_load(text)
        container, key = dice.choice(list(places(tree)))
        container[key] = dice.choice(ODD)
        try:
            result = imported(yaml.safe_dump(tree, sort_keys=False, allow_unicode=True))
        except InvalidDocumentsError as error:
            assert error.problems
            continue
        written(result, tmp_path / str(number))
        report(result, TODAY)


def test_everything_that_is_wrong_is_told_at_once() -> None:
    text = PLAIN.replace("site-2", "Site_1").replace("8002", "443").replace("role: lead", "roles: []")
    with pytest.raises(InvalidDocumentsError) as caught:
        imported(text)
    assert len(caught.value.problems) == 3


@pytest.mark.parametrize(
    ("role", "becomes"),
    [
        ("project_admin", Role.IT_ADMIN),
        ("super", Role.IT_ADMIN),
        ("org_admin", Role.COMPLIANCE_OFFICER),
        ("lead", Role.DATA_SCIENTIST),
        ("member", Role.COMPLIANCE_OFFICER),
        ("anything_else", Role.COMPLIANCE_OFFICER),
    ],
)
def test_roles_become_what_they_may_here_and_nobody_may_sign(role: str, becomes: Role, tmp_path: Path) -> None:
    result = imported(PLAIN.replace("role: lead", f"role: {role}"))
    roster = written(result, tmp_path).value
    person = roster.person("lead@nvidia.com")
    assert person is not None and person.role is becomes
    assert roster.baseline_officers == () and all(site.officers == () for site in roster.sites)
    (change,) = [each for each in result.changes if each.key == "participants[lead@nvidia.com].role"]
    assert change.became == f"role: {becomes}" and change.why


def test_names_and_roles_can_be_chosen_beforehand(tmp_path: Path) -> None:
    choices = Choices({"simulator": "ward-3"}, {"admin@nvidia.com": Role.DATA_SCIENTIST})
    roster = written(imported(PLAIN.replace("site-2", "simulator"), choices), tmp_path).value
    assert [site.name for site in roster.sites] == ["site-1", "ward-3"]
    person = roster.person("admin@nvidia.com")
    assert person is not None and person.role is Role.DATA_SCIENTIST


def test_a_chosen_name_is_not_corrected() -> None:
    with pytest.raises(InvalidDocumentsError, match="`Ward_3` is no name here; it would be `ward-3`"):
        imported(PLAIN, Choices({"site-2": "Ward_3"}))


def test_the_server_is_dialled_where_it_was(tmp_path: Path) -> None:
    server = written(imported(READABLE["host names as a list"]), tmp_path).value.server
    assert (server.name, server.host, server.other_hosts, server.port) == (
        "server1",
        "server1",
        ("fl.example.com", "192.168.1.10"),
        8002,
    )


def test_a_host_name_of_its_own_is_what_is_dialled(tmp_path: Path) -> None:
    server = written(imported(READABLE["one host name as a word"]), tmp_path).value.server
    assert (server.host, server.other_hosts) == ("fl.hospital.example.com", ("fl.example.com",))


def test_a_server_called_by_a_word_of_nvflares_is_the_coordinator(tmp_path: Path) -> None:
    server = written(imported(PLAIN.replace("server1", "server")), tmp_path).value.server
    assert (server.name, server.host) == ("coordinator", "server")


def test_names_are_spelled_as_they_must_be(tmp_path: Path) -> None:
    roster = written(imported(READABLE["names with capitals and underscores"]), tmp_path).value
    assert (roster.server.name, roster.server.host) == ("fl-hospital-example-com", "FL.Hospital.Example.COM")
    assert roster.sites[0].name == "st-marys-hospital"
    assert roster.sites[0].organisation == "nvidia-research"
    assert roster.people[0].name == "ada.lovelace@nvidia.com"


@pytest.mark.parametrize(("days", "becomes"), [("3650", 3650), ("99999", 7300)])
def test_the_authority_lasts_as_long_as_the_root_did(days: str, becomes: int, tmp_path: Path) -> None:
    text = PLAIN.replace("CertBuilder\n", f"CertBuilder\n    args: {{root_valid_days: {days}}}\n")
    assert written(imported(text), tmp_path).value.authority.valid_days == becomes


def test_clients_of_a_relay_are_kept_and_the_relay_is_explained() -> None:
    result = imported(READABLE["relays between server and clients"])
    assert "site-1" in {each.name for each in result.kept}
    why = reasons(result)
    for relay in ("relay-1", "relay-2"):
        assert "its clients are kept and dial the server themselves" in why[f"participants[{relay}].name"]
        assert why[f"participants[{relay}].listening_host"] == f"part of `participants[{relay}]`"
    assert "every site dials the server itself" in why["participants[site-1].connect_to"]


def test_studies_are_remarked_in_the_policies_of_their_sites() -> None:
    result = imported(READABLE["studies of API version 4"])
    assert "Study `cancer-research`" in result.documents["policies/site-1.yaml"]
    assert "lead@nvidia.com" in result.documents["policies/site-1.yaml"]
    assert result.documents["policies/site-2.yaml"].count("Study `") == 2
    assert "multiple_sclerosis" in " ".join(reasons(result))


def test_the_first_of_two_servers_is_kept(tmp_path: Path) -> None:
    result = imported(READABLE["high availability with two servers"])
    assert written(result, tmp_path).value.server.name == "server1"
    assert any("gave up high availability" in each for each in reasons(result).values())


def test_a_description_cannot_leave_its_remark(tmp_path: Path) -> None:
    text = PLAIN.replace("NVIDIA FLARE sample project yaml file", '"harmless\\n\\x85federation: other\\u2028sites: []"')
    assert written(imported(text), tmp_path).value.federation == "example-project"


def test_a_file_that_cannot_be_read_says_so(tmp_path: Path) -> None:
    with pytest.raises(InvalidDocumentsError, match="is not UTF-8"):
        parse_project(b"\xff\xfe", "project.yml")
    with pytest.raises(InvalidDocumentsError, match="larger than 256 KiB"):
        parse_project(b"#" * (256 * 1024 + 1), "project.yml")


def test_a_key_that_nobody_decided_on_counts_as_dropped() -> None:
    from cloister.nvflare_project.changes import Ledger

    document = parse_project(with_client("    use_aio: true\n").encode(), "project.yml")
    ledger = Ledger(document.source, document.value.model_dump(exclude_unset=True))
    assert {each.outcome for each in ledger.changes()} == {Outcome.DROPPED}
    assert {each.why for each in ledger.changes()} == {"nothing here corresponds to it"}


@pytest.mark.slow
@pytest.mark.parametrize("text", ACCEPTED.values(), ids=ACCEPTED)
def test_these_are_files_that_nvflare_reads(text: str) -> None:
    from nvflare.lighter.provision import prepare_project

    assert prepare_project(yaml.safe_load(text)).get_server() is not None


@pytest.mark.slow
@pytest.mark.parametrize("text", OLDER.values(), ids=OLDER)
def test_these_are_files_that_nvflare_no_longer_reads(text: str) -> None:
    from nvflare.lighter.provision import prepare_project

    with pytest.raises(ValueError, match=r"server already exists|missing role"):
        prepare_project(yaml.safe_load(text))


def test_the_roster_is_a_document(tmp_path: Path) -> None:
    written(imported(PLAIN), tmp_path)
    assert load(tmp_path / "provisioning" / "federation.yaml", Federation).value.federation == "example-project"
