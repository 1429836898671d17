# SPDX-License-Identifier: Apache-2.0
"""How much of what names somebody the gate for free text finds, how often it is right, and how long it takes.

Run it: .venv/bin/python benchmarks/deidentification.py [--tuned-on] [--thresholds]

Recall and precision are measured on labelled synthetic sentences, on the half that the patterns were not tuned on;
`--tuned-on` gives the other half, `--thresholds` what other thresholds than the one chosen would have found there. Real
abstracts, of which none names a patient, show what is masked in texts that hold next to nothing to mask.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests import medical_abstracts
from tests.labelled_sentences import measure, read_sentences

from cloister.records.free_text.deidentify import THRESHOLD, Deidentifier


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tuned-on", action="store_true")
    parser.add_argument("--thresholds", action="store_true")
    options = parser.parse_args()
    if medical_abstracts.find() is None:
        raise SystemExit("the folder `shared/data` with real records does not lie beside the project")
    if options.thresholds:
        thresholds()
        return
    gate = Deidentifier()
    gate.find("№ 1")  # so that the table of characters is made before the clock starts
    print(f"threshold {THRESHOLD}")
    sentences = read_sentences(tuned_on=options.tuned_on)
    measured = measure(gate.find, sentences)
    print(f"\n{len(sentences)} sentences\n", *measured.recall_table(), "", *measured.precision_table(), sep="\n")
    print(f"\nof the characters masked, {measured.rightly / measured.masked:.3f} are in a marked piece")
    abstracts(gate)


def abstracts(gate: Deidentifier) -> None:
    """What is found in abstracts, by kind, and how long each takes of one core."""
    texts = [text for text, _ in medical_abstracts.read()]
    found: Counter[str] = Counter()
    milliseconds, touched = [], 0
    for text in texts:
        began = time.process_time()
        findings = gate.find(text)
        milliseconds.append((time.process_time() - began) * 1e3)
        found.update(finding.entity for finding in findings)
        touched += bool(findings)
    kinds = ", ".join(f"{kind} {count}" for kind, count in found.most_common())
    length = statistics.mean(map(len, texts))
    print(f"\n{len(texts)} abstracts of {length:.0f} characters: {touched} with a finding; {kinds}")
    mean, longest = statistics.mean(milliseconds), max(milliseconds)
    print(f"{mean:.2f} ms of one core each, {longest:.1f} ms the longest; {1e3 / mean:.0f} a second")


def thresholds() -> None:
    """What each threshold finds in the half that was tuned on, and how many abstracts it touches."""
    sentences = read_sentences(tuned_on=True)
    texts = [text for text, _ in medical_abstracts.read()][::4]
    print("| threshold | found wholly | right | abstracts with a finding |\n|---|---|---|---|")
    for threshold in (0.01, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7):
        gate = Deidentifier(threshold=threshold)
        measured = measure(gate.find, sentences)
        wholly = measured.wholly.total() / measured.marked.total()
        right = measured.right.total() / measured.found.total()
        touched = sum(bool(gate.find(text)) for text in texts) / len(texts)
        print(f"| {threshold} | {wholly:.3f} | {right:.3f} | {touched:.3f} |")


if __name__ == "__main__":
    main()
