# SPDX-License-Identifier: Apache-2.0
"""What the invented bank complaints are put together from: what went wrong, by product, and the words around it.

Written for this demonstration. No phrase comes from a real complaint; shops, amounts and people are made up.
"""

from __future__ import annotations

from cloister.reference.wording import Wording

LABELS = ("account", "card", "loan", "transfer")

_ACCOUNT = (
    "I was charged a monthly keeping fee of {amount} although you promised it would be free for students",
    "the savings rate fell to almost nothing and nobody wrote to me",
    "my statements for {month} are missing from the mailbox and the app",
    "I went {amount} below zero for one night and you took a penalty for it",
    "after the wedding you still write my old surname on everything",
    "you closed everything in my name with two weeks' notice and no reason",
    "my late father's balance is still frozen after {n} months",
    "I cannot sign in since {month}, the app says the user is unknown",
    "my daughter turned eighteen and is still treated as a minor",
    "the joint holder was removed without my signature",
)

_CARD = (
    "the plastic is refused at every till although there is enough money",
    "somebody paid {amount} at {shop} with my number while I was asleep",
    "the machine swallowed it on {day} and gave nothing back",
    "tapping no longer works, I must always put in the code",
    "the new one was posted in {month} and never reached me",
    "my code is blocked after one wrong try",
    "I was billed twice for the same dinner at {shop}",
    "you turned down my chargeback against {shop} without looking at the photos",
    "the hotel deposit of {amount} is still held after {n} weeks",
    "the foreign purchase fee of {amount} was never mentioned",
)

_LOAN = (
    "the monthly instalment rose from one month to the next to {amount}",
    "you want a penalty of {amount} because I wish to pay everything back early",
    "the insurance against unemployment was sold to me without my asking",
    "my application was turned down after {n} weeks without a reason",
    "the credit bureau shows me as late although I paid on the day",
    "I asked for a pause in payments when I lost my job and got a reminder instead",
    "the payoff letter shows {amount} more than your own schedule",
    "the fixed rate in the offer was not the one in the contract",
    "the land register entry has not been released {n} months after the last payment",
    "the valuation of the flat cost {amount} and was then not used",
)

_TRANSFER = (
    "the {amount} I sent to my sister on {day} has not reached her",
    "one digit was wrong and nobody tries to bring the money back",
    "the standing order for the rent ran twice in {month}",
    "the wire abroad lost {amount} on the way to fees nobody named",
    "my wages were sent back to the employer with a wrong reason",
    "the exchange rate was not the one shown when I pressed send",
    "I stopped the order on {day} and it was carried out all the same",
    "an instant payment hangs since {day}, marked as in progress",
    "a firm I never heard of collected {amount} by direct debit",
    "the payee's name check fails although the number is right",
)

WORDING = Wording(
    reasons=dict(zip(LABELS, (_ACCOUNT, _CARD, _LOAN, _TRANSFER), strict=True)),
    openings=(
        ("Dear team,", "Good morning,", "To whom it may concern,", "Hello,"),
        ("Web form:", "Chat:", "From the app:"),
        ("Customer rang on {day}.", "Caller says:", "Letter received {day}."),
    ),
    distractors=(
        "my card works fine",
        "this is not about the loan",
        "I have had an account here for {n} years",
        "the transfer last week went through without trouble",
        "my wife's mortgage is with you, too",
        "I rang {n} times and was cut off",
        "nobody at the branch could help",
        "the chat robot sent me in circles",
        "I want this put right by {day}",
        "please answer in writing",
        "I am thinking of leaving",
        "otherwise I was always content",
        "I paid by card at the desk for the parking, that is not the point",
        "my brother had the same with another bank",
        "I attach copies",
        "the fee is not what annoys me",
        "I do not want to borrow anything",
        "it ruined our weekend",
    ),
    slots={
        "amount": ("12.50", "39", "48.90", "75", "120", "260", "499", "1,150", "2,400"),
        "month": ("January", "March", "April", "June", "August", "October", "November"),
        "day": ("Monday", "Tuesday", "Thursday", "Friday", "the 3rd", "the 14th", "the 28th"),
        "n": ("two", "three", "four", "five", "six"),
        "shop": ("Bellmoor Shoes", "Quickfern Taxi", "Tarn Electronics", "Cafe Lumo", "Hollin Travel"),
    },
    shortenings={
        "please": "pls",
        "because": "bc",
        "payment": "pmt",
        "account": "acct",
        "application": "appl.",
        "number": "no.",
        "without": "w/o",
        "you": "u",
        "your": "yr",
    },
)
