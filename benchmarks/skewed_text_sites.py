# SPDX-License-Identifier: Apache-2.0
"""The texts of `skewed_text.py` as they lie at sites: abstracts over three, banking queries over four banks."""

from __future__ import annotations

import csv
import json
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.medical_abstracts import CONDITIONS, find, read, split

Records = list[tuple[str, str]]
GROUPS: dict[str, str] = {
    "cards": """
        activate_my_card apple_pay_or_google_pay card_about_to_expire card_acceptance card_arrival
        card_delivery_estimate card_linking card_not_working change_pin compromised_card contactless_not_working
        disposable_card_limits get_disposable_virtual_card get_physical_card getting_spare_card getting_virtual_card
        lost_or_stolen_card order_physical_card pin_blocked supported_cards_and_currencies virtual_card_not_working
        visa_or_mastercard""",
    "payments": """
        Refund_not_showing_up atm_support card_payment_fee_charged card_payment_not_recognised
        card_payment_wrong_exchange_rate card_swallowed cash_withdrawal_charge cash_withdrawal_not_recognised
        declined_card_payment declined_cash_withdrawal direct_debit_payment_not_recognised extra_charge_on_statement
        pending_card_payment pending_cash_withdrawal request_refund reverted_card_payment? transaction_charged_twice
        wrong_amount_of_cash_received wrong_exchange_rate_for_cash_withdrawal""",
    "transfers": """
        automatic_top_up balance_not_updated_after_bank_transfer balance_not_updated_after_cheque_or_cash_deposit
        beneficiary_not_allowed cancel_transfer declined_transfer failed_transfer pending_top_up pending_transfer
        receiving_money top_up_by_bank_transfer_charge top_up_by_card_charge top_up_by_cash_or_cheque top_up_failed
        top_up_limits top_up_reverted topping_up_by_card transfer_fee_charged transfer_into_account
        transfer_not_received_by_recipient transfer_timing verify_top_up""",
    "accounts": """
        age_limit country_support edit_personal_details exchange_charge exchange_rate exchange_via_app
        fiat_currency_support lost_or_stolen_phone passcode_forgotten terminate_account unable_to_verify_identity
        verify_my_identity verify_source_of_funds why_verify_identity""",
}
"""By bank, the intents that it is the one for."""


@dataclass(frozen=True)
class Texts:
    """One set of texts, split.

    Attributes:
        sites: records by site.
        test: records that no site holds.
        labels: all classes, in the order of their numbers.
    """

    sites: dict[str, Records]
    test: Records
    labels: Sequence[str]

    def counts(self) -> dict[str, int]:
        """By class how many records the sites have of it, as a job of task `statistics` would tell."""
        found = Counter(label for records in self.sites.values() for _, label in records)
        return {label: found[label] for label in self.labels}

    @property
    def all(self) -> list[str]:
        """Every text."""
        return [text for records in (*self.sites.values(), self.test) for text, _ in records]


def texts_of(name: str, seed: int, own_share: float) -> Texts:
    """The set ``name`` as ``seed`` splits it."""
    path = find()
    if path is None:
        raise SystemExit("the folder `shared/data` with real records does not lie beside the project")
    if name == "abstracts":
        sites, test = split(read(), seed)
        return Texts(sites, test, CONDITIONS)
    return _banking(path.parents[1] / "banking77", seed, own_share)


def _banking(folder: Path, seed: int, own_share: float) -> Texts:
    labels = sorted(json.loads((folder / "categories.json").read_text(encoding="utf-8")))
    owners = {label: bank for bank, listed in GROUPS.items() for label in listed.split()}
    assert sorted(owners) == labels, "each intent is in one group"
    draw = random.Random(seed)
    sites: dict[str, Records] = {bank: [] for bank in GROUPS}
    for text, label in _read(folder / "train.csv"):
        others = [bank for bank in GROUPS if bank != owners[label]]
        sites[owners[label] if draw.random() < own_share else draw.choice(others)].append((text, label))
    return Texts(sites, _read(folder / "test.csv"), labels)


def _read(path: Path) -> Records:
    with path.open(encoding="utf-8", newline="") as stream:
        return [(row["text"], row["category"]) for row in csv.DictReader(stream)]
