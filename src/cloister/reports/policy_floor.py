# SPDX-License-Identifier: Apache-2.0
"""What the baseline takes from a site's policy: tighter limits, entries that it does not grant, terms that it adds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from cloister.policies import Policy
from cloister.policies.pair import STRICTEST_FIRST
from cloister.reports.policy_words import passages

_GRANTS = frozenset({"datasets", "methods", "methods.lora"})
"""Sections in which a key that is left out denies, in a site's policy and in the baseline alike."""

_IDENTITY = frozenset({"language", "policy", "version", "extends", "owner", "valid_from", "valid_until", "waivers"})


def tightened(policy: Policy, baseline: Policy) -> tuple[str, ...]:
    """One sentence for each key of a site's ``policy`` where ``baseline`` is tighter, or says something besides."""
    if policy.is_baseline:
        return ()
    own, floor = (each.model_dump(mode="json", exclude_unset=True, by_alias=True) for each in (policy, baseline))
    found: list[str] = []
    if baseline.valid_until < policy.valid_until:
        found.append(f"The baseline ends earlier, on `{baseline.valid_until}`.")
    written = {passage.key: passage for passage in passages(baseline)}
    for key, said in floor.items():
        if key in _IDENTITY or key == "sandbox":
            continue
        if key not in own and key in ("hours", "privacy", "release"):
            found += [f"The baseline adds: {sentence}" for sentence in written[key].sentences]
        elif key in own:
            found += _compared(key, own[key], said)
    if policy.sandbox == "unsafe-none" and baseline.sandbox == "required":
        found.append("`sandbox`: the baseline requires the sandbox, so this policy's `unsafe-none` has no effect.")
    if floor.get("code") == "forbidden" and own.get("code") not in (None, "forbidden"):
        found.append("`code`: the baseline forbids code that jobs bring, so no approval here has an effect.")
    return tuple(found)


def _compared(path: str, own: Any, floor: Any) -> Iterator[str]:
    if isinstance(own, Mapping) and isinstance(floor, Mapping):
        yield from _compared_keys(path, own, floor)
    elif isinstance(own, list) and isinstance(floor, list):
        if denied := [entry for entry in own if entry not in floor]:
            yield f"`{path}`: the baseline does not grant {', '.join(_shown(entry) for entry in denied)}."
    elif _is_tighter(path.rpartition(".")[2], own, floor) or _is_stricter(path, own, floor):
        yield f"`{path}`: {_shown(own)} here, {_shown(floor)} in the baseline, and that counts."
    elif (path.startswith("hours.") or path.endswith(".filter")) and own != floor:
        yield f"`{path}`: {_shown(own)} here, {_shown(floor)} in the baseline; both must hold."


def _compared_keys(path: str, own: Mapping[str, Any], floor: Mapping[str, Any]) -> Iterator[str]:
    for key, said in floor.items():
        here = f"{path}.{key}"
        if key in own:
            yield from _compared(here, own[key], said)
        elif path not in _GRANTS:
            yield f"`{here}`: not stated here; the baseline states {_shown(said)}, and that counts."
    if path in _GRANTS:
        for key in sorted(own.keys() - floor.keys()):
            yield f"`{path}`: the baseline does not grant `{key}`."
    if path == "may_leave" and "statistics" in own and "statistics" not in floor:
        yield f"`{path}`: the baseline does not grant `statistics`."


def _is_tighter(key: str, own: Any, floor: Any) -> bool:
    if not isinstance(own, int | float) or not isinstance(floor, int | float):
        return False
    return floor > own if key.startswith("minimum") else floor < own


def _is_stricter(path: str, own: Any, floor: Any) -> bool:
    if not path.endswith(".free_text"):
        return False
    return STRICTEST_FIRST.index(floor) < STRICTEST_FIRST.index(own)


def _shown(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"`{value['name']}`" if "name" in value else ", ".join(f"`{key}` {_shown(value[key])}" for key in value)
    if isinstance(value, list):
        return ", ".join(_shown(entry) for entry in value)
    return f"`{value:,}`" if isinstance(value, int) else f"`{value}`"
