# SPDX-License-Identifier: Apache-2.0
"""What a job, a server that describes features, or a file among a site's records would get into a view or out of it.

Sites, policies, stores and gates are real. What is returned is all that would leave the site; of views it is all that
a trainer would be given.
"""

from __future__ import annotations

import gzip
import json
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from nvflare.apis.signal import Signal

from cloister.documents import parse
from cloister.errors import CloisterError
from cloister.flare import executor as executor_module
from cloister.flare import site_job
from cloister.flare.egress_filter import EgressFilter
from cloister.flare.exchange import Ask, content_of, task_with
from cloister.flare.executor import TrainingExecutor
from cloister.flare.site_job import SiteJob
from cloister.jobs import DatasetRef, Job
from cloister.jobs.statistics import FeatureStatistics
from cloister.records import ViewRequest, write_view
from cloister.silos import Dataset
from tests.federation_folder import change_document, merged
from tests.flare.site_folder import admitted_job
from tests.flare.test_executor import context_of
from tests.records.dicom_writers import picture, write_dicom
from tests.records.view.test_tasks import made
from tests.redteam.attempts import Tries
from tests.redteam.leaving import Hostile
from tests.redteam.scene import CANARY, Files, Scene
from tests.tabular_federation import DATASET, make_tabular_federation, statistics_job, tabular_job

TRIES = Tries()
KEY = b"k" * 32


class Visits:
    """A site with a table of visits that has admitted a job on it, and answers the server's tasks."""

    def __init__(
        self,
        scene: Scene,
        job: dict[str, Any],
        policy: dict[str, Any] | None = None,
        silo: dict[str, Any] | None = None,
    ) -> None:
        self.root = make_tabular_federation(
            scene.folder / f"site-{len(list(scene.folder.iterdir()))}", policy=policy
        ).resolve()
        if silo:
            change_document(self.root, "silos/alpha.yaml", silo)
        document = parse(json.dumps(job).encode(), Job, name="job.yaml")
        settings, identifier, app = admitted_job(self.root, document)
        self.fl_ctx = context_of(self.root, identifier)
        scene.patch.setattr(site_job, "Trainer", Hostile())
        self.job = SiteJob.open(settings, identifier, app, settings.workspace / "private", lambda: datetime.now(UTC))
        scene.patch.setattr(executor_module, "_open", lambda _fl_ctx: self.job)
        self.executor = TrainingExecutor()

    def ask(
        self, task: str, statistics: FeatureStatistics | None = None, *, swapped: tuple[str, str] = ("", "")
    ) -> str:
        """All that leaves the site upon one task; ``swapped`` is changed in the server's message on its way."""
        message = Ask(round=0, statistics=statistics).model_dump_json().encode()
        if swapped[0]:
            assert swapped[0].encode() in message
            message = message.replace(swapped[0].encode(), swapped[1].encode(), 1)
        reply = self.executor.execute(task, task_with(message, b""), self.fl_ctx, Signal())
        return content_of(EgressFilter().process(reply, self.fl_ctx))[0].decode()

    def prepare(self) -> str:
        """What it says first."""
        return self.ask("prepare")

    def described(self) -> FeatureStatistics:
        """What it says of its features, which a server may then lie about."""
        return FeatureStatistics.model_validate_json(json.dumps(json.loads(self.prepare())["statistics"]))


def changed(statistics: FeatureStatistics, **features: dict[str, Any]) -> FeatureStatistics:
    """``statistics`` with other words about some features, unchecked."""
    tree = merged(statistics.model_dump(mode="json"), {"features": features})
    return FeatureStatistics.model_validate_json(json.dumps(tree))


# --- filters


@TRIES("job-brings-a-filter")
def _(scene: Scene) -> list[str]:
    """A filter, Python, SQL or a path in a job's document, in keys of its own and in the names of columns."""

    def change(tree: dict[str, Any]) -> Callable[[Files], object]:
        def apply(files: Files) -> None:
            for path in [path for path in files if path.endswith("job.yaml")]:
                files[path] = json.dumps(merged(json.loads(files[path]), tree)).encode()

        return apply

    injections: list[dict[str, Any]] = [
        {"dataset": {"filter": "age > 90"}},
        {"dataset": {"rows": {"ward": ["north"]}}},
        {"dataset": {"where": f"1=1; -- {CANARY}"}},
        {"dataset": {"text": f"note\" FROM patients WHERE name = '{CANARY}' --"}},
        {"dataset": {"text": "__class__.__mro__"}},
        {"dataset": {"name": f"clinical-notes; DROP TABLE {CANARY}"}},
        {"dataset": {"name": "../../etc/passwd"}},
        {"dataset": {"histograms": {"note": {"low": float("nan"), "high": 1.0}}}},
    ]
    return [answer for tree in injections for answer in scene.both(scene.job(_as_json(change(tree))))]


def _as_json(change: Callable[[Files], object]) -> Callable[[Files], object]:
    import yaml

    def apply(files: Files) -> None:
        for path in [path for path in files if path.endswith("job.yaml")]:
            files[path] = json.dumps(yaml.safe_load(files[path])).encode()
        change(files)

    return apply


@TRIES("labels-as-a-filter")
def _(scene: Scene) -> list[str]:
    """Two jobs on marked pieces, of which one names a label less: their numbers of records do not differ."""
    texts = [f"gave aspirin {number} mg" for number in range(60)]
    pieces = [{"start": 5, "end": 12, "label": "drug"}, {"start": 13, "end": 14, "label": "dose", "note": CANARY}]
    marks = [json.dumps(pieces if number < 2 else pieces[:1]) for number in range(60)]
    told = set()
    for labels in (("drug",), ("drug", "dose"), ("dose",)):
        folder = scene.folder / "-".join(labels)
        declared = made(folder, {"text": (texts, {"kind": "text"}), "marks": (marks, {"kind": "spans"})})
        ref = DatasetRef(name="rows", text="text", entities="marks", labels=labels)
        manifest = write_view(declared, ViewRequest(ref, 1), key=KEY, root=folder, folder=folder / "view", name="rows")
        told.add(f"{manifest.training} and {manifest.validation}, {manifest.rejected} rejected")
    assert len(told) == 1, told
    return [*told, *(_whole(scene.folder / labels / "view") for labels in ("drug", "drug-dose", "dose"))]


def _whole(view: Path) -> str:
    """All bytes of a view, which a trainer is given."""
    return "view: " + "".join(
        f"{path.name} {path.read_bytes().decode('latin-1')}" for path in sorted(view.rglob("*")) if path.is_file()
    )


# --- statistics


@TRIES("few-records-described")
def _(scene: Scene) -> list[str]:
    """A value that two records have, and a filter that leaves fewer records than may be described."""
    site = Visits(scene, statistics_job())
    told = site.prepare()
    assert '"south":2' not in told
    few = {"filter": "ward == 'south'", "minimum_records": 1, "minimum_people": 2, "minimum_validation_records": 1}
    site = Visits(scene, statistics_job(), {"datasets": {DATASET: few}})
    return [told, site.prepare()]


@TRIES("who-is-described")
def _(scene: Scene) -> list[str]:
    """A description of whom records are about, of a column that is not granted, and of free text."""

    def asks(feature: str, silo: dict[str, Any] | None = None, columns: Sequence[str] = ()) -> str:
        job = merged(statistics_job(), {"dataset": {"features": [feature], "histograms": None}})
        grant = {"datasets": {DATASET: {"columns": list(columns)}}}
        return Visits(scene, job, grant, silo).prepare()

    text = {"datasets": {DATASET: {"columns": {"ward": {"kind": "text", "values": None}}}}}
    return [
        asks("patient_id", columns=["patient_id"]),
        asks("stay", columns=["age"]),
        asks("ward", text, columns=["ward"]),
    ]


@TRIES("split-by-a-rare-value")
def _(scene: Scene) -> list[str]:
    """Seeds under which the two sides of the split would be the records with and without a value."""
    folder = scene.folder / "wards"
    cells = ["north"] * 300 + ["rare"] * 3
    declared = made(folder, {"ward": (cells, {"kind": "category", "values": ["north", "rare"]})})
    ref, told = DatasetRef(name="rows", features=("ward",)), []
    for seed in range(8):
        place = folder / f"view-{seed}"
        manifest = write_view(declared, ViewRequest(ref, seed), key=KEY, root=folder, folder=place, name="rows")
        assert not {manifest.training, manifest.validation} & {0, 3, 300, 303}, manifest
        told.append(f"{manifest.training} and {manifest.validation}, {manifest.rejected} rejected")
    return told


# --- settling


@TRIES("settled-unasked")
def _(scene: Scene) -> list[str]:
    """A server that settles what a site never described, settles twice, or settles a job that trains nothing."""
    asked = Visits(scene, tabular_job())
    whole = asked.described()
    first = asked.ask("settle", whole)
    assert '"kind":"settled"' in first, first
    nothing = Visits(scene, statistics_job())
    described = nothing.described()
    early = Visits(scene, tabular_job())
    return [asked.ask("settle", whole), nothing.ask("settle", described), early.ask("settle", whole)]


@TRIES("settled-with-lies")
def _(scene: Scene) -> list[str]:
    """Other features, fewer records, counts that do not add up, and a variance that no numbers have."""
    lies: list[Callable[[FeatureStatistics], FeatureStatistics]] = [
        lambda said: said.model_copy(update={"records": said.records - 1}),
        lambda said: said.model_copy(update={"records": 2**62}),
        lambda said: said.model_copy(update={"features": {"age": said.features["age"]}}),
        lambda said: said.model_copy(update={"features": {**said.features, CANARY: said.features["age"]}}),
        lambda said: changed(said, age={"variance": 1e-9}),
        lambda said: changed(said, age={"mean": 1e300}),
        lambda said: changed(said, age={"present": said.records, "missing": 0}),
        lambda said: changed(said, ward={"counts": {"south": 10**9}}),
        lambda said: said.model_copy(update={"features": {**said.features, "ward": said.features["age"]}}),
    ]
    told = []
    for lie in lies:
        site = Visits(scene, tabular_job())
        told.append(site.ask("settle", lie(site.described())))
    return told


@TRIES("settled-with-no-numbers")
def _(scene: Scene) -> list[str]:
    """NaN, infinities, negative counts and variances, and a message that is longer than one may be."""
    told = []
    for swap in (
        ('"records":', '"records":NaN,"x":'),
        ('"variance":', '"variance":-1,"x":'),
        ('"mean":', '"mean":Infinity,"x":'),
        ('"present":', '"present":-5,"x":'),
        ('"records":', f'"records":1,"{CANARY}":'),
        ('"records":', '"records": ' + " " * (4 << 20) + "1"),
    ):
        site = Visits(scene, tabular_job())
        told.append(site.ask("settle", site.described(), swapped=swap))
    return told


# --- images


def _pictures(folder: Path, **attributes: Any) -> Path:
    """A folder of DICOM files with the canary wherever a header takes one, and as an overlay in a bit of the pixels."""
    for number in range(24):
        values = np.full((8, 8), number, np.uint16) | np.uint16(0x8000 if number % 2 else 0)
        data = picture(
            values,
            Modality="MR" if number % 2 else "CT",
            BitsStored=12,
            HighBit=11,
            PatientName=CANARY,
            PatientID=CANARY,
            InstitutionName=CANARY,
            ImageComments=CANARY,
            **attributes,
        )
        data.private_block(0x0011, CANARY, create=True).add_new(0x01, "LO", CANARY)
        data.add_new(0x60003000, "OW", CANARY.encode())
        data.add_new(0x60000022, "LO", CANARY)
        write_dicom(folder / "scans" / f"{CANARY}-{number}.dcm", data)
    return folder


def _shown(folder: Path, connector: dict[str, Any], values: tuple[str, str], *, view: str = "view") -> str:
    """What a job is given of a folder's pictures, or the refusal that it is told."""
    columns = {"scan": {"kind": "image"}, "class": {"kind": "category", "values": values}}
    declared = Dataset.model_validate_json(json.dumps({"connector": connector, "columns": columns}))
    ref = DatasetRef(name="rows", image="scan", label="class", labels=values)
    try:
        write_view(declared, ViewRequest(ref, 1), key=KEY, root=folder, folder=folder / view, name="rows")
    except CloisterError as error:
        return str(error)
    return _whole(folder / view)


DICOM = {"kind": "dicom", "path": "scans", "unit": "instance", "image": "scan", "fields": {"class": "Modality"}}
NIFTI = {"kind": "nifti", "path": "scans", "table": "table.csv"}


@TRIES("names-in-image-headers")
def _(scene: Scene) -> list[str]:
    """Names in DICOM headers, in a NIfTI file's descriptions and extension, and in names of files."""
    folder = scene.folder / "nifti"
    (folder / "scans").mkdir(parents=True)
    lines = ["scan,class"]
    for number in range(24):
        image = nibabel.Nifti1Image(np.full((8, 8, 4), number, np.int16), np.eye(4))
        image.header["descrip"] = CANARY.encode()
        image.header["intent_name"] = CANARY[:15].encode()
        image.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", CANARY.encode()))
        nibabel.save(image, folder / "scans" / f"{CANARY}-{number}.nii")
        lines.append(f"{CANARY}-{number}.nii,{'yes' if number % 2 else 'no'}")
    (folder / "table.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    dicom = _pictures(scene.folder / "dicom")
    return [_shown(folder, NIFTI, ("no", "yes")), _shown(dicom, DICOM, ("CT", "MR"))]


@TRIES("images-that-are-no-good")
def _(scene: Scene) -> list[str]:
    """Images from outside of their folder, over links, larger than they say, and such as inflate to gigabytes."""
    folder = scene.folder / "bad"
    scans = folder / "scans"
    scans.mkdir(parents=True)
    secret = folder / f"{CANARY}.nii"
    nibabel.save(nibabel.Nifti1Image(np.ones((8, 8), np.int16), np.eye(4)), secret)
    (scans / "link.nii").symlink_to(secret)
    header = nibabel.Nifti1Header()
    header.set_data_dtype(np.int16)
    header.set_data_shape((30000, 30000, 30000))
    header["magic"] = b"n+1"
    header["vox_offset"] = 352
    (scans / "promise.nii").write_bytes(header.binaryblock + bytes(4))
    header.set_data_shape((8, 8, 1))
    with gzip.open(scans / "bomb.nii.gz", "wb", compresslevel=1) as stream:
        stream.write(header.binaryblock + bytes(4))
        for _ in range(64):
            stream.write(bytes(1 << 20))
    told = []
    for number, name in enumerate((f"../{CANARY}.nii", str(secret), "link.nii", "promise.nii", "bomb.nii.gz")):
        (folder / "table.csv").write_text("scan,class\n" + f"{name},yes\n{name},no\n" * 12, encoding="utf-8")
        told.append(_shown(folder, NIFTI, ("no", "yes"), view=f"view-{number}"))
    return told


@TRIES("text-in-pictures")
def _(scene: Scene) -> list[str]:
    """Pictures whose headers say that text is burned in, or that are of a kind that often has some."""
    named = _pictures(scene.folder / "burned", BurnedInAnnotation="YES")
    screens = _pictures(scene.folder / "screens", ImageType=["DERIVED", "SECONDARY", "SCREEN SAVE"])
    return [_shown(folder, DICOM, ("CT", "MR")) for folder in (named, screens)]


# --- texts, passwords, bundles


@TRIES("numbers-that-patterns-miss")
def _(scene: Scene) -> list[str]:
    """A telephone number with invisible characters, digits of other scripts, keycaps and marks, in text and spans."""
    hidden = (
        "+44\u200b 20\u2060 7946 0958",
        "+44 20 7946\ufe0f\u20e3 0958",
        "\uff0b\uff14\uff14 20 7946 0958",
        "+\u0664\u0664 \u0662\u0660 7946 0958",
    )
    told = []
    for number, written in enumerate(hidden):
        folder = scene.folder / f"texts-{number}"
        texts = [f"call {written} about visit {each}" for each in range(40)]
        risk = {"kind": "category", "values": ["low", "high"]}
        columns = {"text": (texts, {"kind": "text"}), "risk": (["low", "high"] * 20, risk)}
        ref = DatasetRef(name="rows", text="text", label="risk", labels=("low", "high"))
        request = ViewRequest(ref, 1, None, "mask")
        write_view(made(folder, columns), request, key=KEY, root=folder, folder=folder / "view", name="rows")
        whole = (folder / "view" / "train.parquet").read_bytes().decode(errors="replace")
        assert written not in whole
        told.append(whole)
    return told


@TRIES("password-in-a-refusal")
def _(scene: Scene) -> list[str]:
    """A store that cannot be reached, whose password is in the environment and in a file."""
    scene.patch.setenv("VISITS_PASSWORD", CANARY)
    file = scene.folder / "password.txt"
    file.write_text(CANARY, encoding="utf-8")
    told = []
    for mode, password in (
        (0o600, {"environment": "VISITS_PASSWORD"}),
        (0o600, {"file": str(file)}),
        (0o644, {"file": str(file)}),
    ):
        file.chmod(mode)
        reached = {"host": "127.0.0.1", "port": 1, "database": "visits", "user": "reader", "table": "visits"}
        connector = {"kind": "postgresql", "path": None, "password": password, **reached}
        silo = {"datasets": {DATASET: {"connector": connector}}}
        told.append(Visits(scene, statistics_job(), silo=silo).prepare())
    return told


@TRIES("bundle-that-runs-python")
def _(scene: Scene) -> list[str]:
    """A MONAI bundle that names any class, evaluates Python, imports modules, or asks for weights from elsewhere."""
    from cloister.training.bundle import network_definition

    touch = f"__import__('pathlib').Path({str(scene.marker)!r}).touch()"
    unet = {"_target_": "monai.networks.nets.UNet", "spatial_dims": 3}
    definitions: list[Any] = [
        {"_target_": "os.system", "command": f"touch {scene.marker}"},
        {"_target_": "monai.networks.nets.UNet.__init__.__globals__"},
        {**unet, "channels": f"${touch}"},
        {**unet, "act": ["PRELU", {"init": f"${touch}"}]},
        {**unet, "norm": "@imports"},
        {**unet, "_requires_": f"${touch}"},
        {**unet, "pretrained": True},
        f"${touch}",
        "@network",
    ]
    told = []
    for number, definition in enumerate(definitions):
        folder = scene.folder / f"bundle-{number}"
        (folder / "configs").mkdir(parents=True)
        tree = {"imports": [f"${touch}"], "network_def": definition, "note": CANARY}
        (folder / "configs" / "inference.json").write_text(json.dumps(tree), encoding="utf-8")
        try:
            told.append(repr(network_definition(folder)))
        except CloisterError as error:
            told.append(str(error))
    assert "torch" in sys.modules
    return told
