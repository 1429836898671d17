# SPDX-License-Identifier: Apache-2.0
"""Our own patterns of what names a person, for what Presidio's recognisers do not find or do not find in bounded time.

1. Every pattern is linear in the text, or nearly: what repeats without bound starts where nothing of its kind stands
   before it, and is possessive. Presidio's patterns for e-mail addresses and links take a time that grows with the
   square of the text (measured: over a minute for 200,000 characters), so these two are ours.
2. A name is found only beside a word that says that one follows, such as `Dr.` or `Patient:`; patterns find no others.
3. Years by themselves, times of day and ages up to 89 are left: they are among what the HIPAA safe harbour method lets
   stand (45 CFR 164.514(b)(2)(i)).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import regex
import tldextract

Judge = Callable[[str], float]
"""How sure one is that a piece of text found by a pattern is what the pattern looks for: 0 for not at all, up to 1."""


@dataclass(frozen=True)
class Rule:
    """One pattern and what is made of the pieces that it finds.

    Attributes:
        entity: what the pieces are, as the mask names it.
        pattern: the piece is its group `found` where it has one, the whole match otherwise.
        judge: how sure a piece is.
        needs: characters of which a text has to have one for the pattern to be tried; a digit of any script is `0`.
        context: words that make a piece surer where one of them stands shortly before it.
        shorter: whether a piece that is not sure at all is tried again up to the end of each of the pattern's groups.
    """

    entity: str
    pattern: regex.Pattern[str]
    judge: Judge
    needs: frozenset[str] = frozenset("0")
    context: frozenset[str] = frozenset()
    shorter: bool = False


def own_rules() -> tuple[Rule, ...]:
    """All patterns of this module."""
    return (
        Rule("EMAIL_ADDRESS", _any_case(_EMAIL), _always(0.8), needs=frozenset("@")),
        Rule("URL", _any_case(_URL), _judge_link, needs=frozenset(".")),
        Rule("DATE_TIME", _any_case(_DATE_AND_TIME), _always(0.8)),
        Rule("DATE_TIME", _any_case(_DAY_AND_MONTH), _always(0.7)),
        Rule("DATE_TIME", regex.compile(_MONTH_AND_DAY), _always(0.7)),
        Rule("DATE_TIME", _any_case(_MONTH_AND_YEAR), _always(0.6)),
        Rule("PHONE_NUMBER", _any_case(_LABELLED_PHONE), _judge_labelled_phone),
        Rule("RECORD_NUMBER", _any_case(_LABELLED_NUMBER), _judge_record_number),
        Rule("NUMBER", regex.compile(_LONG_NUMBER), _always(_NUMBER_SCORE)),
        Rule("NUMBER", regex.compile(_GROUPED_NUMBER), _judge_grouped_number),
        Rule("ZIP_CODE", _any_case(_LABELLED_ZIP), _always(0.7)),
        Rule("ZIP_CODE", regex.compile(_STATE_AND_ZIP), _always(0.6)),
        Rule("AGE_OVER_89", _any_case(_AGE_OVER_89), _always(0.7)),
        Rule("STREET_ADDRESS", regex.compile(_STREET), _always(0.6)),
        Rule("STREET_ADDRESS", _any_case(_PART_OF_ADDRESS), _always(0.6)),
        Rule("PERSON", regex.compile(_TITLED), _always(0.6), needs=frozenset("DMNPSdm")),
        Rule("PERSON", regex.compile(_LABELLED_NAME), _always(0.6), needs=frozenset(": ")),
    )


def _any_case(pattern: str) -> regex.Pattern[str]:
    return regex.compile(pattern, regex.IGNORECASE)


def _always(score: float) -> Judge:
    return lambda _: score


_LOCAL = r"!#$%&'*+\-/=?^_`{|}~.\w"
_EMAIL = rf"(?<![{_LOCAL}])[{_LOCAL}]++@\w++(?:-++\w++)*+(?:\.\w++(?:-++\w++)*+)++"

_URL = (
    r"(?:https?|ftp)://[^\s<>\"']*[^\s<>\"'.,;:!?)]"
    r"|(?<![\w.\-@])(?:\w[\w\-]{0,62}+\.){1,127}[a-z]{2,24}+(?![\w\-])(?::\d{1,5}+)?(?:/(?:[^\s()<>\"']*[^\s()<>\"'.,;:!?])?)?"
)
_SURE_OF_ITS_HOST = regex.compile(r"(?:https?|ftp)://|www\d?\.|[^/]++/", regex.IGNORECASE)


@cache
def _top_level_domains() -> frozenset[str]:
    """From the list that the library carries; nothing is fetched and no cache is written."""
    extract = tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None)
    return frozenset(suffix for suffix in extract.tlds if "." not in suffix)


def _judge_link(piece: str) -> float:
    if "://" in piece:
        return 0.8
    host = regex.split("[/:]", piece, maxsplit=1)[0].lower()
    *_, name, top = host.split(".")
    if top not in _top_level_domains():
        return 0.0
    # `mg.kg` and `pg.ml` are units with a full stop for a stroke, and would be hosts in Kyrgyzstan and Mali.
    return 0.6 if len(name) > 3 or _SURE_OF_ITS_HOST.match(piece) else 0.0


_MONTH = (
    r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?"
    r"|nov(?:ember)?|dec(?:ember)?)\b\.?"
)
_DAY = r"(?:0?[1-9]|[12]\d|3[01])"
_YEAR = r"(?:(?:19|20)\d\d|'\d\d)\b"
_DATE_AND_TIME = r"\b\d{4}[\-/.]\d{1,2}[\-/.]\d{1,2}[T ]\d{1,2}:\d{2}(?::\d{2}(?:\.\d{1,9})?)?"
_DAY_AND_MONTH = rf"\b{_DAY}(?:st|nd|rd|th)?[ \-](?:of )?{_MONTH}(?:,?[ \-]{_YEAR})?(?![\w])"
_MONTH_AND_DAY = rf"\b(?=[A-Z])(?i:{_MONTH}) {_DAY}(?:st|nd|rd|th)?(?:,? {_YEAR})?(?![\w.]\d|\w)"
_MONTH_AND_YEAR = rf"\b{_MONTH},?[ \-](?:{_DAY}(?:st|nd|rd|th)?,? )?{_YEAR}"

_LABELLED_PHONE = (
    r"\b(?:tele?phone|phone|tel|mobile|cell(?:phone)?|fax|pager|bleep|desk|call(?: me)? (?:on|at))\b"
    r"(?: ?(?:number|no))?[ .:#]{0,3}\n?(?P<found>[+(]{0,2}\d[\d ()./\-]{4,24}\d(?: ?(?:x|ext)\.? ?\d{1,6})?)"
)


def _judge_labelled_phone(piece: str) -> float:
    return 0.7 if _digits(piece) >= 6 else 0.0


_LABELLED_NUMBER = (
    r"\b(?:mrn|nhs|ssn|dob|(?:medical |hospital |health |patient |member |subscriber |customer |client |case |chart |"
    r"study |sample |specimen |accession |policy |claim |account |bank |card |credit |licen[cs]e |passport |device |"
    r"serial |reference |referral |authori[sz]ation |prescription |invoice |insurance |record ){1,3}"
    r"(?:record )?(?:number|no|nr|num|id|identifier)|"
    r"(?:patient|member|case|claim|policy|account|acct|accession|card|licen[cs]e|passport|referral|prescription|rx|"
    r"serial|record|chart|iban)(?= ?[#:]))"
    r"(?:\b|(?<=[.#]))\.?[ ]?(?:(?:is|was|number|no|id)\b\.?)?[ ]?[#:=]{0,2}[ ]?#?"
    r"(?P<found>[a-z0-9]++(?:[\-/.][a-z0-9]++){0,6}+)(?![\w])"
)


def _judge_record_number(piece: str) -> float:
    """Three digits or more: what stands after such a word is a number that somebody keeps a record under."""
    return 0.7 if _digits(piece) >= 3 else 0.0


_NUMBER_SCORE = 0.35
"""Below that of everything with a better name for a number."""

_LONG_NUMBER = r"(?<!\w|\d[.,])(?=[A-Z]{0,3}\d{7})[A-Z]{0,3}\d{7,30}(?!\w|[.,]\d)"
_GROUPED_NUMBER = (
    r"(?<![\w/\-]|\d[., ])(?:\+?\d{1,6}|\(\+?\d{1,6}\))(?:[ \-]{1,2}(?:\d{2,6}|\(\d{1,4}\)))++(?!\w|[.,/\-]\d)"
)
_RANGE = regex.compile(r"(\d{4}) ?- ?(\d{4})")


def _judge_grouped_number(piece: str) -> float:
    """Seven digits or more in groups, as telephones, cards and accounts are numbered; not a span from here to there."""
    if _digits(piece) < 7:
        return 0.0
    ends = _RANGE.fullmatch(piece)
    return 0.0 if ends and ends[1] < ends[2] else _NUMBER_SCORE


_LABELLED_ZIP = (
    r"\b(?:zip|post(?:al)?)[ \-]?(?:code)?(?: is)?[ :]{1,3}"
    r"(?P<found>(?=[a-z\-]{0,4}\d)[a-z0-9]{2,6}(?:[ \-](?:\d[a-z0-9]{1,3}|(?-i:[A-Z]{2})))?)(?!\w)"
)
_STATE_AND_ZIP = (
    r"\b(?:A[AEKLPRZ]|C[AOT]|D[CE]|FL|G[AU]|HI|I[ADLN]|K[SY]|LA|M[ADEINOST]|N[CDEHJMVY]|O[HKR]|P[AR]|RI|S[CD]|"
    r"T[NX]|UT|V[AIT]|W[AIVY])[ ,]{1,2}(?P<found>\d{5}(?:-\d{4})?)(?![\w\-])"
)
_AGE_OVER_89 = (
    r"\b(?:(?P<found>9\d|1[01]\d)(?:[ \-]?year(?:s)?[ \-]old|[ \-]?y/?o\b| years of age)"
    r"|(?:aged|age|turned):? (?P<found>9\d|1[01]\d)\b(?! ?(?:%|[hdwm]|\.\d)))"
)

_WORD = r"\p{Lu}[\p{L}'’\-]*+"
_STREET = (
    rf"(?<!\w)\d{{1,5}}[a-z]?,? (?:{_WORD} ){{1,4}}?"
    r"(?:Street|St|Road|Rd|Avenue|Ave|Lane|Ln|Drive|Dr|Boulevard|Blvd|Court|Ct|Place|Pl|Square|Sq|Terrace|Way|Close|"
    r"Crescent|Cres|Parade|Highway|Hwy|Parkway|Pkwy)\b\.?"
)
_PART_OF_ADDRESS = r"\b(?:apt\.?|apartment|suite|p\.? ?o\.? ?box|(?:psc|unit|cmr) \d{1,5},? box) ?#?\d{1,6}\b"

_NAME_WORD = rf"(?:\p{{Lu}}\.|{_WORD})"
_NAME = rf"{_NAME_WORD}(?: (?:(?:de|da|di|del|della|van|von|der|den|la|le|bin|al) )*+{_NAME_WORD}){{0,3}}"
# Not `MR` and not `ms`, which are magnetic resonance and milliseconds; and no sentence that ends in a title.
_NO_NAME = r"(?!(?:I|In|It|The|This|That|These|Those|Thus|We|He|She|They|You|A|An|And|At|If|On|No|Yes)\b)"
_TITLED = (
    r"\b(?:(?:[Mm]rs?|MRS|Ms|Mx|[Dd]r|DR|Prof)\b\.?|(?:Professor|Doctor|Nurse|Miss|Sir|Dame)\b) "
    rf"(?P<found>{_NO_NAME}{_NAME})"
)
_LABELLED_NAME = (
    rf"(?:\b(?i:(?:(?:patient|customer|client|full|first|last|maiden|family|mother's|father's) )?name|next of kin|"
    rf"(?:electronically )?signed by|dictated by|referred by|reviewed by)[ \t]*:[ \t]*"
    rf"|\b(?i:name is|names are|name's|signed,) )(?P<found>{_NO_NAME}{_NAME})"
)


def _digits(piece: str) -> int:
    return sum(each.isdecimal() for each in piece)
