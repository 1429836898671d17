# SPDX-License-Identifier: Apache-2.0
"""A policy in plain English, section by section: what it grants, what it denies by its silence."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from cloister.policies import Policy
from cloister.policies.sections import MINIMUM_VALIDATION_RECORDS, Bounds, DatasetGrant
from cloister.policies.terms import CodeGrant

_EFFECT_OF_SILENCE = {
    "submitters": "nobody may submit a job",
    "purposes": "no purpose is granted",
    "datasets": "no dataset is granted",
    "base_models": "no base model is granted",
    "methods": "no way of training is granted",
    "training": "no training is granted",
    "may_leave": "nothing may leave",
    "aggregation": "updates may be averaged with nobody's",
}


@dataclass(frozen=True)
class Passage:
    """One section of a policy in words.

    Attributes:
        title: what it is about.
        key: the policy's key, or the first of them.
        sentences: names and values in backticks.
    """

    title: str
    key: str
    sentences: tuple[str, ...]


def passages(policy: Policy) -> tuple[Passage, ...]:
    """``policy`` in words: its identity, then every section that is written, in the order of the language."""
    found = [Passage("Whose policy, and when it counts", "policy", _identity(policy))]
    for key, (title, words) in _SECTIONS.items():
        if getattr(policy, key) is not None:
            found.append(Passage(title, key, tuple(words(policy))))
    return tuple(found)


def silences(policy: Policy) -> tuple[str, ...]:
    """What is denied because ``policy`` does not write it; of the baseline, what it leaves to the sites."""
    missing = [key for key in _EFFECT_OF_SILENCE if getattr(policy, key) is None]
    if policy.is_baseline:
        return tuple(f"No section `{key}`: the baseline sets no floor there; each site decides." for key in missing)
    found = [f"No section `{key}`: {_EFFECT_OF_SILENCE[key]}." for key in missing]
    if policy.methods is not None:
        found += [
            f"No `methods.{key}`: {said} is denied." for key, said in _METHODS.items() if key not in _granted(policy)
        ]
    if policy.may_leave is not None and policy.may_leave.statistics is None:
        found.append("No `may_leave.statistics`: descriptions of features, and networks on columns, are denied.")
    if policy.training is not None:
        for key, unit in (("maximum_steps_per_round", "steps"), ("maximum_epochs_per_round", "epochs")):
            if getattr(policy.training, key) is None:
                found.append(f"No `training.{key}`: jobs that count their rounds in {unit} are denied.")
    if policy.code is None:
        found.append("No section `code`: jobs may bring no training code of their own.")
    if policy.sandbox is None:
        found.append("No key `sandbox`: training code runs in the sandbox all the same.")
    found.append("Any purpose, dataset, column, base model, method, layer, tensor or metric that is not named above.")
    return tuple(found)


def _identity(policy: Policy) -> tuple[str, ...]:
    found = [
        "This is the floor under every site's policy."
        if policy.is_baseline
        else f"This is the policy of the site `{policy.policy}`.",
        f"It is version `{policy.version}`, written in policy language `{policy.language}`.",
        f"`{policy.owner}` answers for it.",
        f"It counts from `{policy.valid_from}` to `{policy.valid_until}`, both days included; after that every job is "
        "denied.",
    ]
    if policy.extends is not None:
        found.append(f"It extends the `{policy.extends}`: a job runs only where both allow it.")
    return tuple(found)


def _names(names: Iterable[object], *, joint: str = "and") -> str:
    quoted = [f"`{name}`" for name in names]
    return f" {joint} ".join((", ".join(quoted[:-1]), quoted[-1])) if len(quoted) > 1 else "".join(quoted)


def _number(value: float) -> str:
    shown = f"{value:,}".removesuffix(".0")  # with every digit: it is the document's number that counts
    return f"`{shown}`"


def _hours(policy: Policy) -> Iterable[str]:
    hours = policy.hours
    if hours is not None:
        night = ", of the next day" if hours.until < hours.begin else ""
        yield f"Jobs may run from `{hours.begin}` to `{hours.until}` UTC{night}, beginning on {_names(hours.days)}."


def _submitters(policy: Policy) -> Iterable[str]:
    who = policy.submitters
    if who is None:
        return
    lists: tuple[tuple[str, tuple[object, ...] | None], ...] = (
        ("be one of these people", who.people),
        ("have one of these roles", who.roles),
        ("act for one of these organisations", who.organisations),
    )
    given = [(said, names) for said, names in lists if names is not None]
    if not given:
        yield "No list is given, so nobody may submit a job."
    for said, names in given:
        yield f"Whoever submits a job must {said}: {_names(names, joint='or')}."


def _purposes(policy: Policy) -> Iterable[str]:
    yield f"Jobs may be for {_names(policy.purposes or (), joint='or')}."


def _datasets(policy: Policy) -> Iterable[str]:
    for name, grant in (policy.datasets or {}).items():
        yield from _dataset(name, grant, of_baseline=policy.is_baseline)


def _dataset(name: str, grant: DatasetGrant, *, of_baseline: bool) -> Iterable[str]:
    yield f"Of the dataset `{name}` a job may read {_names(grant.columns)}."
    yield f"It must find at least {_number(grant.minimum_records)} records of `{name}` to train on."
    if grant.minimum_per_class is not None:
        least = _number(grant.minimum_per_class)
        yield f"Every class of `{name}` that has any must have at least {least} records to train on."
        yield f"No class of `{name}` may have fewer than {least} records that are all kept for validation."
    kept = grant.minimum_validation_records or (0 if of_baseline else MINIMUM_VALIDATION_RECORDS)
    if kept:
        yield f"Where records of `{name}` are kept for validation, they must be at least {_number(kept)}."
    if grant.purposes is not None:
        yield f"`{name}` is granted for {_names(grant.purposes, joint='or')} only."
    if grant.minimum_people is not None:
        yield f"The records of `{name}` to train on must be of at least {_number(grant.minimum_people)} people."
    for column, values in (grant.rows or {}).items():
        yield f"Of `{name}` only rows with {_names(values, joint='or')} in column `{column}` are used."
    if grant.filter is not None:
        yield f"Of `{name}` only rows that meet this condition are used: `{grant.filter}`."
    if grant.free_text is not None:
        yield f"Free text of `{name}` in which somebody seems to be named {_FREE_TEXT[grant.free_text]}."
    if grant.approval is not None:
        ground = grant.approval
        said = f"the {ground.kind} approval `{ground.reference}`, until `{ground.until}`"
        yield f"The ground for using `{name}` is {said}."


_FREE_TEXT = {
    "mask": "is masked: `mask`",
    "refuse": "ends the job here: `refuse`",
    "keep": "is not looked for: `keep`",
}


def _base_models(policy: Policy) -> Iterable[str]:
    for entry in policy.base_models or ():
        yield f"`{entry.name}` may be trained, where its file has SHA-256 `{entry.sha256}`; licence `{entry.licence}`."


_METHODS = {
    "lora": "low-rank adaptation",
    "ia3": "scaling what layers give",
    "prompt": "learning embeddings before each text",
    "prefix": "learning keys and values before each text",
    "bitfit": "training a base model's biases",
    "full": "training every weight of a network",
}


def _granted(policy: Policy) -> tuple[str, ...]:
    return tuple(key for key in _METHODS if getattr(policy.methods, key, None) is not None)


def _methods(policy: Policy) -> Iterable[str]:
    methods = policy.methods
    if methods is None or not _granted(policy):
        yield "No method is named."
        return
    if (lora := methods.lora) is not None:
        yield f"Low-rank adaptation up to rank {_number(lora.maximum_rank)}, of the layers {_names(lora.targets)}."
        if lora.variants is not None:
            yield f"Of its variants these may be used: {_names(lora.variants)}."
    if methods.ia3 is not None:
        yield f"What these layers give or are given may be scaled: {_names(methods.ia3.targets)}."
    if methods.prompt is not None:
        yield f"Embeddings of up to {_number(methods.prompt.maximum_tokens)} tokens may be learnt before each text."
    if methods.prefix is not None:
        most = _number(methods.prefix.maximum_tokens)
        yield f"Keys and values of up to {most} tokens may be learnt before each text."
    if methods.bitfit is not None:
        yield "A base model's biases may be trained: `bitfit`."
    if methods.full is not None:
        yield f"Every weight may be trained of these networks: {_names(methods.full.networks)}."


def _training(policy: Policy) -> Iterable[str]:
    limits = policy.training
    if limits is None:
        return
    yield f"A job may train for {_number(limits.maximum_rounds)} rounds at most."
    yield f"A step may take {_number(limits.maximum_batch_size)} records at most."
    if limits.maximum_steps_per_round is not None:
        yield f"A round may have {_number(limits.maximum_steps_per_round)} steps at most."
    if limits.maximum_epochs_per_round is not None:
        yield f"A round may pass over the records {_number(limits.maximum_epochs_per_round)} times at most."
    if limits.minimum_records_per_round is not None:
        yield f"A round must train on at least {_number(limits.minimum_records_per_round)} records."


def _code(policy: Policy) -> Iterable[str]:
    if not isinstance(policy.code, CodeGrant):
        yield "Jobs may bring no training code of their own: `forbidden`."
        return
    for entry in policy.code.approved:
        yield f"The code with SHA-256 `{entry.sha256}` may run until `{entry.until}`; `{entry.by}` approved it."


def _sandbox(policy: Policy) -> Iterable[str]:
    if policy.sandbox == "required":
        yield "Training code runs with no network and no keys: `required`."
    else:
        yield f"Training code runs with no isolation, where the baseline says so too or nothing: `{policy.sandbox}`."


def _may_leave(policy: Policy) -> Iterable[str]:
    limits = policy.may_leave
    if limits is None:
        return
    yield f"These parts of an update may leave: {_names(limits.tensors)}."
    yield f"Up to {_number(limits.maximum_bytes_per_round)} bytes may leave in a round."
    if limits.maximum_bytes_per_job is not None:
        yield f"Up to {_number(limits.maximum_bytes_per_job)} bytes may leave in all rounds of a job together."
    if limits.maximum_norm is not None:
        yield f"The Euclidean norm of an update may be {_number(limits.maximum_norm)} at most."
    yield f"These numbers may leave: {_names(limits.metrics)}."
    if limits.statistics is not None:
        least = _number(limits.statistics.minimum_count)
        yield f"Descriptions of features may leave, with no count of fewer than {least} records in them."
    for name, bounds in (limits.metric_bounds or {}).items():
        yield f"`{name}` may leave {_between(bounds)}."


def _between(bounds: Bounds) -> str:
    if bounds.minimum is None:
        return "" if bounds.maximum is None else f"up to {_number(bounds.maximum)}"
    least = f"from {_number(bounds.minimum)}"
    return least if bounds.maximum is None else f"{least} to {_number(bounds.maximum)}"


def _aggregation(policy: Policy) -> Iterable[str]:
    section = policy.aggregation
    if section is None:
        return
    yield f"Updates may be averaged over {_number(section.minimum_sites)} sites or more, this one among them."
    if section.secure_aggregation is not None:
        yield (
            f"Secure aggregation is `{section.secure_aggregation}`; this version of Cloister has none, so every job is "
            "denied."
        )


def _privacy(policy: Policy) -> Iterable[str]:
    terms = policy.privacy
    if terms is not None:
        yield (
            f"Differential privacy of each `{terms.unit}` is required, with epsilon {_number(terms.epsilon)} and delta "
            f"{_number(terms.delta)}; this version of Cloister cannot keep it, so every job is denied."
        )


def _release(policy: Policy) -> Iterable[str]:
    terms = policy.release
    if terms is None:
        return
    if terms.minimum_sites is not None:
        yield f"A job's result must rest on {_number(terms.minimum_sites)} sites or more."
    if terms.minimum_records is not None:
        yield f"A job's result must rest on {_number(terms.minimum_records)} records or more, of all sites together."
    if terms.approved_by is not None:
        yield (
            f"A job's result must be approved by {_names(terms.approved_by)}; this version of Cloister cannot hold a "
            "result back, so every job is denied."
        )


def _waivers(policy: Policy) -> Iterable[str]:
    for waiver in policy.waivers or ():
        jobs = "every job" if waiver.jobs is None else f"the jobs {_names(waiver.jobs)}"
        yield (
            f"Denials by the rule `{waiver.rule}` do not count for {jobs} until `{waiver.until}`: `{waiver.reason}`; "
            f"`{waiver.by}` decided so."
        )


_SECTIONS: Mapping[str, tuple[str, Callable[[Policy], Iterable[str]]]] = {
    "hours": ("When jobs may run", _hours),
    "submitters": ("Who may ask", _submitters),
    "purposes": ("For what", _purposes),
    "datasets": ("On which records", _datasets),
    "base_models": ("With which base models", _base_models),
    "methods": ("By which methods", _methods),
    "training": ("How much training", _training),
    "code": ("Training code that jobs bring", _code),
    "sandbox": ("Isolation", _sandbox),
    "may_leave": ("What may leave", _may_leave),
    "aggregation": ("With whom it may be averaged", _aggregation),
    "privacy": ("Privacy", _privacy),
    "release": ("What must hold of a result", _release),
    "waivers": ("Exceptions", _waivers),
}
