# SPDX-License-Identifier: Apache-2.0
"""Real abstracts over ten skewed sites of which two are bad: what each rule of aggregation makes of it.

Run it: .venv/bin/python benchmarks/bad_sites.py [--seeds 5] [--rounds 20] [--steps 20] [--skew 1.0]

The Medical Abstracts corpus's test part, five conditions; a fifth is held out. The rest is dealt to ten sites, of each
condition in shares drawn from a Dirichlet distribution. All-MiniLM-L6-v2 stays as it is and makes 384 numbers of an
abstract; a network of one hidden layer on them (25,000 weights) is trained. Sites train in this process; their updates
are combined by `cloister.aggregation`, by the rules that bear bad sites also behind mixing. A seed draws the split, who
is bad, the first weights and the order of records.

Bad sites take part in every round and know what a good one would send. They send

* garbage: normally distributed values, a hundred times as long as that update;
* flipped: that update with the other sign;
* scaled: a thousand times that update;
* flipped and scaled: minus ten times that update.

Measured is the last round's network, on the held-out abstracts.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch
from study_options import say
from tests.federation_folder import base_model
from tests.medical_abstracts import CONDITIONS, Records, find, read, split
from transformers import AutoModel, AutoTokenizer

from cloister.aggregation import Contribution, Rule
from cloister.aggregation.geometric_median import GeometricMedian
from cloister.aggregation.krum import Krum
from cloister.aggregation.mean import Mean
from cloister.aggregation.median import Median
from cloister.aggregation.mixing import Mixing
from cloister.aggregation.multi_krum import MultiKrum
from cloister.aggregation.norm_bounding import NormBounding
from cloister.aggregation.trimmed_mean import TrimmedMean
from cloister.vectors import ArraySource, Vector

SITES, BAD, FEATURES, HIDDEN = 10, 2, 384, 64
FEWEST = 30  # records of a site
RULES: dict[str, Callable[[float], Rule]] = {
    "mean": lambda _: Mean(),
    "mean, norm bounded": lambda norm: NormBounding(Mean(), norm),
    "median": lambda _: Median(),
    "trimmed mean": lambda _: TrimmedMean(BAD),
    "krum": lambda _: Krum(BAD),
    "multi-krum": lambda _: MultiKrum(BAD),
    "geometric median": lambda _: GeometricMedian(),
    "median, mixed": lambda _: Mixing(Median(), BAD),
    "trimmed mean, mixed": lambda _: Mixing(TrimmedMean(BAD), BAD),
    "krum, mixed": lambda _: Mixing(Krum(BAD), BAD),
    "multi-krum, mixed": lambda _: Mixing(MultiKrum(BAD), BAD),
    "geometric median, mixed": lambda _: Mixing(GeometricMedian(), BAD),
}
ATTACKS: dict[str, Callable[[Vector, np.random.Generator], Vector]] = {
    "garbage": lambda update, draw: draw.normal(size=update.size) * 100 * np.sqrt(np.mean(update**2)),
    "flipped": lambda update, _: -update,
    "scaled": lambda update, _: update * 1000,
    "flipped and scaled": lambda update, _: update * -10,
}

Shapes = ((FEATURES, HIDDEN), (1, HIDDEN), (HIDDEN, len(CONDITIONS)), (1, len(CONDITIONS)))
Labelled = tuple[torch.Tensor, torch.Tensor]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--steps", type=int, default=20, help="of each site in each round")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rate", type=float, default=0.05, help="of plain gradient descent at the sites")
    parser.add_argument("--skew", type=float, default=1.0, help="of the Dirichlet distribution; smaller is more skewed")
    parser.add_argument("--rules", nargs="+", choices=RULES, default=list(RULES))
    parser.add_argument("--attacks", nargs="+", choices=ATTACKS, default=list(ATTACKS))
    parser.add_argument("--features", type=Path, help="file of features; made where it is missing, for a second run")
    options = parser.parse_args()
    if find() is None:
        raise SystemExit("the folder `shared/data` with real records does not lie beside the project")
    torch.set_num_threads(1)
    features = kept_features(read(), options.features)
    measured: dict[str, dict[str, list[float]]] = {}
    for seed in range(1, options.seeds + 1):
        for rule, by_attack in run(seed, features, options).items():
            for attack, accuracy in by_attack.items():
                measured.setdefault(rule, {}).setdefault(attack, []).append(accuracy)
        say(f"seed {seed} done")
    print(f"\n{table(measured)}")
    print("\nPoints lost to bad sites, against the same rule and seed without them: mean ± deviation, most\n")
    print(lost(measured))


def run(seed: int, features: dict[str, np.ndarray], options: argparse.Namespace) -> dict[str, dict[str, float]]:
    """By rule and attack, the accuracy on held-out abstracts."""
    held, test_records = split(read(), seed)
    draw = np.random.default_rng(seed)
    sites = dealt([record for records in held.values() for record in records], options.skew, draw)
    bad = sorted(draw.choice(SITES, BAD, replace=False))
    data = [tensors(records, features) for records in sites]
    test = tensors(test_records, features)
    norm = bound(data, seed, options)
    found: dict[str, dict[str, float]] = {}
    for name in options.rules:
        rule = RULES[name](norm)
        cells = {"no bad site": federated(data, test, rule, None, [], seed, options)}
        for attack in options.attacks:
            cells[attack] = federated(data, test, rule, ATTACKS[attack], bad, seed, options)
        found[name] = cells
        say(f"  seed {seed}, {name}: " + ", ".join(f"{attack} {value:.3f}" for attack, value in cells.items()))
    good = [site for number, site in enumerate(data) if number not in bad]
    found["mean, of the eight good sites alone"] = {
        "no bad site": federated(good, test, Mean(), None, [], seed, options)
    }
    return found


def bound(data: list[Labelled], seed: int, options: argparse.Namespace) -> float:
    """Twice the median norm of the first round's updates, as somebody chooses who tried it with good sites."""
    weights = first_weights(seed)
    updates = trained(weights, data, seed, 0, options) - weights
    return 2 * float(np.median(np.linalg.norm(updates, axis=1)))


def federated(
    data: list[Labelled],
    test: Labelled,
    rule: Rule,
    send: Callable[[Vector, np.random.Generator], Vector] | None,
    bad: list[int],
    seed: int,
    options: argparse.Namespace,
) -> float:
    """Accuracy of the last round's network."""
    weights, draw = first_weights(seed), np.random.default_rng([seed, 1])
    for number in range(options.rounds):
        # What is nonsense for long enough comes to be too large to calculate with; nothing is learnt any more then.
        updates = np.nan_to_num(trained(weights, data, seed, number, options) - weights, posinf=1e30, neginf=-1e30)
        for site in bad:
            assert send is not None
            updates[site] = np.clip(send(updates[site].astype(np.float64), draw), -3e38, 3e38)
        contributions = [
            Contribution(f"site-{site:02}", len(labels), ArraySource(updates[site].astype(np.float32)))
            for site, (_, labels) in enumerate(data)
        ]
        weights = np.clip(weights + np.concatenate(list(rule.combine(contributions))), -1e30, 1e30)
    logits = outputs(test[0][None], parts(torch.tensor(weights, dtype=torch.float32)[None]))[0]
    return float((torch.nan_to_num(logits).argmax(dim=1) == test[1]).double().mean())


def trained(weights: Vector, data: list[Labelled], seed: int, number: int, options: argparse.Namespace) -> np.ndarray:
    """Each site's weights after its steps; all sites at once, since their networks are small and of one shape."""
    draw = torch.Generator().manual_seed(seed * 1000 + number)
    copies = torch.tensor(weights, dtype=torch.float32).repeat(len(data), 1).requires_grad_()
    for _ in range(options.steps):
        picked = [torch.randint(len(labels), (options.batch,), generator=draw) for _, labels in data]
        records = torch.stack([each[rows] for (each, _), rows in zip(data, picked, strict=True)])
        labels = torch.stack([each[rows] for (_, each), rows in zip(data, picked, strict=True)])
        logits = outputs(records, parts(copies))
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="sum")
        (gradient,) = torch.autograd.grad(loss / options.batch, copies)
        with torch.no_grad():
            copies -= options.rate * gradient
    return copies.detach().double().numpy()


def parts(weights: torch.Tensor) -> list[torch.Tensor]:
    """The four tensors of each network in ``weights``, of shape (networks, values)."""
    sizes = [rows * columns for rows, columns in Shapes]
    pieces = zip(weights.split(sizes, dim=1), Shapes, strict=True)  # type: ignore[no-untyped-call]
    return [piece.unflatten(1, shape) for piece, shape in pieces]


def outputs(records: torch.Tensor, network: list[torch.Tensor]) -> torch.Tensor:
    """Logits, of shape (networks, records, conditions)."""
    into, bias, out, last = network
    return torch.relu(records @ into + bias) @ out + last


def first_weights(seed: int) -> Vector:
    """He's initialisation, biases 0."""
    draw = np.random.default_rng([seed, 0])
    pieces = [draw.normal(size=shape) * np.sqrt(2 / shape[0]) if shape[0] > 1 else np.zeros(shape) for shape in Shapes]
    return np.concatenate([piece.ravel() for piece in pieces])


def dealt(records: Records, skew: float, draw: np.random.Generator) -> list[Records]:
    """Records by site; drawn again until each has enough."""
    while True:
        sites: list[Records] = [[] for _ in range(SITES)]
        for condition in CONDITIONS:
            group = [record for record in records if record[1] == condition]
            order, shares = draw.permutation(len(group)), draw.dirichlet([skew] * SITES)
            ends = np.round(np.cumsum(shares) * len(group)).astype(int)
            for site, rows in enumerate(np.split(order, ends[:-1])):
                sites[site] += [group[row] for row in rows]
        if min(map(len, sites)) >= FEWEST:
            return sites


def tensors(records: Records, features: dict[str, np.ndarray]) -> Labelled:
    rows = torch.from_numpy(np.stack([features[text] for text, _ in records]))
    return rows, torch.tensor([CONDITIONS.index(condition) for _, condition in records])


def kept_features(records: Records, file: Path | None) -> dict[str, np.ndarray]:
    """By abstract, what `features_of` makes of it, or what an earlier run has kept of that."""
    texts = sorted({text for text, _ in records}, key=lambda text: (len(text), text))
    if file is not None and file.exists():
        made = np.load(file)
    else:
        made = features_of(texts)
        if file is not None:
            np.save(file, made)
    return dict(zip(texts, made, strict=True))


def features_of(texts: list[str]) -> np.ndarray:
    """For each text the mean of the last layer over its first 64 tokens, of the length that normal values have."""
    tokenizer, model = AutoTokenizer.from_pretrained(base_model()), AutoModel.from_pretrained(base_model()).eval()
    found = []
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        for start in range(0, len(texts), 32):
            tokens = tokenizer(
                texts[start : start + 32], padding=True, truncation=True, max_length=64, return_tensors="pt"
            )
            mask = tokens["attention_mask"][..., None]
            means = (model(**tokens).last_hidden_state.float() * mask).sum(dim=1) / mask.sum(dim=1)
            found.append(torch.nn.functional.normalize(means).numpy() * FEATURES**0.5)
    say(f"features of {len(texts)} abstracts made")
    return np.concatenate(found).astype(np.float32)


def table(measured: dict[str, dict[str, list[float]]]) -> str:
    """Markdown: by rule and attack, accuracy as mean ± deviation over seeds."""
    columns = list(next(iter(measured.values())))
    lines = [f"| | {' | '.join(columns)} |", f"|---|{'---|' * len(columns)}"]
    for rule, by_attack in measured.items():
        cells = [spread(by_attack[column]) if column in by_attack else "" for column in columns]
        lines.append(f"| {rule} | {' | '.join(cells)} |")
    return "\n".join(lines)


def lost(measured: dict[str, dict[str, list[float]]]) -> str:
    """Markdown: by rule and attack, how many hundredths of accuracy less than without a bad site, seed by seed."""
    clean, *attacks = next(iter(measured.values()))
    lines = [f"| | {' | '.join(attacks)} |", f"|---|{'---|' * len(attacks)}"]
    for rule, by_attack in measured.items():
        if len(by_attack) > 1:
            points = [
                [100 * (before - after) for before, after in zip(by_attack[clean], by_attack[attack], strict=True)]
                for attack in attacks
            ]
            cells = [f"{spread(each, 1)}, {max(each):.1f}" for each in points]
            lines.append(f"| {rule} | {' | '.join(cells)} |")
    return "\n".join(lines)


def spread(values: list[float], digits: int = 3) -> str:
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.mean(values):.{digits}f} ± {deviation:.{digits}f}"


if __name__ == "__main__":
    main()
