# SPDX-License-Identifier: Apache-2.0
"""The one list of attempts to get past a site's policy; docs/threat-model.md and the tests are checked against it.

`python -m tests.redteam.attempts` prints the list as it stands in docs/threat-model.md.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.redteam.scene import Scene

Try = Callable[["Scene"], list[str]]

ROUND_GOES_ON = '"kind":"update"'  # what was smuggled stays behind, and the honest rest leaves


@dataclass(frozen=True)
class Attempt:
    """One way in which somebody might get past a policy.

    Attributes:
        name: what it is called, here and in the module that makes it.
        says: what is tried, in one line.
        refused_by: the rule, by its id in backquotes, or the gate in words.
        words: each stands in what server or submitter are told; every answer holds one of them.
    """

    name: str
    says: str
    refused_by: str
    words: tuple[str, ...]


@dataclass
class Tries:
    """How each attempt of a module is made; what it returns is everything that server or submitter are told."""

    by_name: dict[str, Try] = field(default_factory=dict)

    def __call__(self, name: str) -> Callable[[Try], Try]:
        """Register a function as the way in which the attempt ``name`` is made."""

        def register(function: Try) -> Try:
            assert name not in self.by_name, name
            self.by_name[name] = function
            return function

        return register


_CONFIG = ("is not the one that Cloister writes",)
_CARRIES = ("the job carries",)
_META = ("asks for something else than its manifest", "the job's meta sets")
_DOCUMENT = ("in the documents",)
_UNSAFE = ("an unsafe name or kind",)
_LARGE = ("the job is larger than a job may be",)
_UNSIGNED = ("is not signed by one person",)
_USED = ("was used before",)
_INVALID_NOW = ("not valid now",)
_LISTED = ("is not the one that its manifest lists",)
_NO_POLICY = ("has no policy in force",)
_KIT = ("the site's configuration is not in order",)
_MAY_NOT_SIGN = ("who may not sign it",)
_NOT_TENSORS = ("is not float32 of shape", "is missing")
_TURN = ("out of turn",)
_DROPPED = ("dropped",)

_APP = "app check at server and site"
_ARCHIVE = "archive check at server and site"
_SERVER_AND_META = "server's check of a submission; admission"
_STRICT = "strict reading of the document"
_MANIFEST = "manifest"
_SIGNATURE = "NVFlare's signature, at admission"
_REPLAY = "replay memory"
_ROSTER = "roster"
_FORCE = "policy in force"
_KIT_CHECK = "configuration check at admission and at a job's start"
_FORM = "egress gate: form"
_FILTER = "egress filter"
_WEIGHTS = "the site's own weights"
_SANDBOX = "sandbox"
_TRAFFIC = "traffic rules"

GROUPS: dict[str, tuple[Attempt, ...]] = {
    "Jobs that bring more than a document": (
        Attempt("class-with-arguments", "a job names any importable class, with arguments", _APP, _CONFIG),
        Attempt("client-api-command", "NVFlare's `ClientAPIExecutor`, with a command to run", _APP, _CONFIG),
        Attempt("swarm-job", "a swarm, whose updates pass no result filter", _APP, _CONFIG),
        Attempt("filter-after-ours", "a job filter that would run after the site's", _APP, _CONFIG),
        Attempt("analytics-component", "a component that turns a site's events into messages", _APP, _CONFIG),
        Attempt("arguments-for-our-class", "Cloister's own executor, with arguments such as `sandbox`", _APP, _CONFIG),
        Attempt(
            "custom-folder", "a `custom/` folder with modules that Python or Cloister would import", _APP, _CARRIES
        ),
        Attempt(
            "empty-custom-folder", "the folder alone, which changes NVFlare's rights for the job", _ARCHIVE, _CARRIES
        ),
        Attempt("code-beside-the-document", "a Python file beside the job's document", _APP, _CARRIES),
        Attempt(
            "secret-reference",
            "`${secret:…}` in document, configuration and meta, to be filled in from files",
            f"{_STRICT}; {_APP}",
            (*_DOCUMENT, *_CONFIG, *_META[:1]),
        ),
        Attempt("launcher-in-meta", "a launcher with an image in the meta", _SERVER_AND_META, _META),
        Attempt(
            "scope-in-meta",
            "another privacy scope in the meta, which would have other filters",
            _SERVER_AND_META,
            _META,
        ),
        Attempt("study-in-meta", "another study in the meta", _SERVER_AND_META, _META),
        Attempt("own-code-flag-in-meta", "NVFlare's flag for jobs with code of their own", _SERVER_AND_META, _META),
        Attempt(
            "zip-climbs-out",
            "archive entries that lead out of their folder",
            _ARCHIVE,
            (*_UNSAFE, "outside the job's folder"),
        ),
        Attempt("link-in-archive", "a symbolic link in the place of the document", _ARCHIVE, _UNSAFE),
        Attempt(
            "two-files-of-one-name",
            "two entries of one name, of which readers take different ones",
            _ARCHIVE,
            ("two files of one name", "two of one name"),
        ),
        Attempt("oversized-config", "a configuration larger than a job may be", _ARCHIVE, _LARGE),
        Attempt("zip-bomb", "an archive of a few kilobytes that inflates to 64 MiB", _ARCHIVE, _LARGE),
        Attempt("alias-bomb", "YAML aliases that expand to ten billion entries", _STRICT, _DOCUMENT),
        Attempt(
            "look-alike-names",
            "Cyrillic and full-width letters, zero-width spaces in granted names",
            _STRICT,
            _DOCUMENT,
        ),
        Attempt(
            "look-alike-licence",
            "a licence with a Cyrillic letter, where text is free",
            "`base-model`",
            ("`base-model`",),
        ),
        Attempt("key-twice-in-document", "two purposes in one document", _STRICT, _DOCUMENT),
        Attempt("other-configuration-format", "HOCON, which includes files and addresses", _APP, _CARRIES),
    ),
    "Signatures, manifests, replays and clocks": (
        Attempt("unsigned-job", "a job without any signature", _SIGNATURE, _UNSIGNED),
        Attempt(
            "unsigned-manifest",
            "a signed job whose manifest nobody signed",
            _MANIFEST,
            ("the signed statement has other parts",),
        ),
        Attempt("replayed-job", "a job that ran, sent again", _REPLAY, _USED),
        Attempt(
            "replay-under-the-first-identifier", "another job under the identifier of an admitted one", _REPLAY, _USED
        ),
        Attempt(
            "replay-after-lost-memory",
            "a replay after the site's memory of used jobs was emptied",
            _REPLAY,
            ("cannot be read or written",),
        ),
        Attempt("replay-with-the-clock-set-back", "a replay with server's and site's clock set back", _REPLAY, _USED),
        Attempt("manifest-from-the-future", "a manifest that counts from an hour on", _MANIFEST, ("counts from",)),
        Attempt("manifest-from-the-past", "a manifest that expired two hours ago", _MANIFEST, ("expired at",)),
        Attempt("manifest-for-ever", "a manifest that counts for ten years", _MANIFEST, ("is valid for longer than",)),
        Attempt(
            "site-clock-behind",
            "server's and site's clock an hour behind the signer's certificate",
            _MANIFEST,
            _INVALID_NOW,
        ),
        Attempt(
            "changed-purpose",
            "the purpose changed after the manifest was signed",
            f"{_MANIFEST}; {_SIGNATURE}",
            (*_LISTED, *_UNSIGNED),
        ),
        Attempt("changed-rounds-on-the-way", "more rounds, written in by the server", _SIGNATURE, _UNSIGNED),
        Attempt(
            "swapped-files", "document and configuration swapped, which NVFlare's signature lets pass", _APP, _CONFIG
        ),
        Attempt(
            "deleted-file", "a signed file left out, which NVFlare's signature lets pass", _APP, ("the job lacks",)
        ),
        Attempt(
            "spliced-part",
            "a signed part of an older job of the same person",
            f"{_MANIFEST}; {_SIGNATURE}",
            (*_LISTED, *_UNSIGNED),
        ),
        Attempt("another-jobs-manifest", "the manifest of another job of the same person", _MANIFEST, _LISTED),
        Attempt(
            "two-documents",
            "one job document for the sites to judge and another for the server to run",
            _MANIFEST,
            ("lists two job documents that differ",),
        ),
        Attempt(
            "anothers-job-as-ones-own",
            "another's signed job, sent before they send it, for its result",
            f"server's check of a submission; {_MANIFEST}",
            ("and another person sends it", "says another `submitter"),
        ),
        Attempt(
            "two-manifests",
            "one manifest for the server and another for the sites",
            _MANIFEST,
            ("carry two manifests",),
        ),
        Attempt(
            "another-sites-job", "a job passed on to a site that it does not ask", _MANIFEST, ("does not ask `alpha`",)
        ),
        Attempt(
            "other-meta-than-the-manifest",
            "a server that says fewer sites will do, or another name",
            _MANIFEST,
            ("the server says another",),
        ),
        Attempt(
            "in-anothers-name", "a manifest that names another person than its signer", _MANIFEST, ("and is signed by",)
        ),
        Attempt(
            "anothers-manifest-and-own-signature",
            "another's genuine manifest with files signed by oneself",
            _MANIFEST,
            ("signed the job's files, and",),
        ),
        Attempt(
            "right-role-in-another-organisation",
            "a data scientist of an institute that is not granted",
            "`submitter`",
            ("`submitter`",),
        ),
        Attempt("wrong-role", "an administrator of the granted institute", "`submitter`", ("`submitter`",)),
        Attempt(
            "left-the-roster",
            "somebody with a valid certificate who left the roster",
            _ROSTER,
            ("is not in the roster", "not in the roster with"),
        ),
        Attempt(
            "changed-organisation-in-the-roster",
            "somebody whose certificate still names their old organisation",
            _ROSTER,
            ("is not in the roster", "not in the roster with"),
        ),
        Attempt(
            "expired-signer",
            "a certificate whose time is over",
            f"{_MANIFEST}; {_SIGNATURE}",
            (*_INVALID_NOW, *_UNSIGNED),
        ),
        Attempt(
            "signer-not-yet-valid",
            "a certificate whose time has not come",
            f"{_MANIFEST}; {_SIGNATURE}",
            (*_INVALID_NOW, *_UNSIGNED),
        ),
        Attempt(
            "another-federations-signer",
            "the same name, certified by another federation",
            f"{_MANIFEST}; {_SIGNATURE}",
            ("did not certify", *_UNSIGNED),
        ),
        Attempt(
            "signed-by-a-machine",
            "the keys of a site or of the server sign a job",
            f"{_MANIFEST}; {_ROSTER}",
            ("by no person", "is not in the roster"),
        ),
    ),
    "The policy and the site's configuration, while the site runs": (
        Attempt("deleted-policy", "the site's policy, or the baseline, deleted", _FORCE, _NO_POLICY),
        Attempt("emptied-policy", "the same emptied, in five ways", _FORCE, _NO_POLICY),
        Attempt("unsigned-policy", "the signature of one of them deleted", _FORCE, ("is not signed",)),
        Attempt("emptied-signature", "the signature of one of them emptied", _FORCE, ("is not validly signed",)),
        Attempt(
            "tampered-policy",
            "a wider policy, or one more space, under the old signature",
            _FORCE,
            ("was changed after",),
        ),
        Attempt(
            "another-policys-signature",
            "the officer's signature of another policy",
            _FORCE,
            ("is the signature of the policy of",),
        ),
        Attempt("another-sites-policy", "another site's policy with its own signature", _FORCE, _NO_POLICY),
        Attempt(
            "rolled-back-policy",
            "an older version that was signed once; and the memory of versions damaged",
            _FORCE,
            ("was put back after version", "memory of policy versions"),
        ),
        Attempt(
            "same-version-other-content",
            "other content under the same version, signed",
            _FORCE,
            ("was in force with other content",),
        ),
        Attempt("expired-policy", "a policy after its last day", "`validity`", ("validity",)),
        Attempt("policy-of-tomorrow", "a policy before its first day", "`validity`", ("validity",)),
        Attempt(
            "revoked-policy",
            "a revoked policy; its revocation damaged, or renamed to another version",
            _FORCE,
            ("was revoked by", "counts as revoked"),
        ),
        Attempt(
            "policy-of-a-newer-language",
            "a policy in a language that this version cannot read whole",
            _FORCE,
            _NO_POLICY,
        ),
        Attempt(
            "policy-signed-by-another-sites-officer",
            "a policy signed by the officer of another site",
            _FORCE,
            _MAY_NOT_SIGN,
        ),
        Attempt(
            "policy-signed-by-a-data-scientist",
            "a policy signed by a data scientist, even one whom the roster lists as its officer",
            _FORCE,
            _MAY_NOT_SIGN,
        ),
        Attempt("nobody-may-sign", "a roster that lists no officer for the site", _FORCE, _MAY_NOT_SIGN),
        Attempt(
            "deleted-authorization-file", "NVFlare's `authorization.json` deleted, emptied or widened", _KIT_CHECK, _KIT
        ),
        Attempt(
            "deleted-privacy-file",
            "NVFlare's `privacy.json`, where the result filter stands, likewise",
            _KIT_CHECK,
            _KIT,
        ),
        Attempt(
            "deleted-resources-file",
            "the list of allowed classes, and the site's settings, likewise",
            _KIT_CHECK,
            (*_KIT, "the site's settings"),
        ),
        Attempt(
            "two-handlers-of-one-name",
            "further components beside the site's configuration, and a module of our filter's name",
            _KIT_CHECK,
            _KIT,
        ),
    ),
    "Training code": (
        Attempt("unapproved-code", "code that no policy approves", "`code`", ("`code`",)),
        Attempt(
            "code-one-byte-off",
            "approved code with one letter changed, or with an empty file more",
            "`code`",
            ("is not approved",),
        ),
        Attempt("code-whose-approval-ended", "code whose approval has ended", "`code`", ("`code`: the approval",)),
        Attempt("code-swapped-on-the-way", "other code in the place of the approved", _MANIFEST, _LISTED),
        Attempt(
            "code-that-the-document-does-not-name",
            "code that the document does not name, names in vain, or at the server",
            _APP,
            ("training code that its document", "the job carries `config/code.json`"),
        ),
        Attempt(
            "code-that-climbs-out",
            "code with paths, kinds, encodings or characters that it may not have",
            _APP,
            ("the job's training code",),
        ),
        Attempt(
            "approved-code-reaches-out",
            "approved code that tries network, key, policy, raw records, processes and files",
            _SANDBOX,
            (ROUND_GOES_ON,),
        ),
        Attempt(
            "approved-code-tells-what-it-read",
            "approved code that puts a record into names of metrics and tensors, log and errors",
            f"{_FORM}; trainer's log",
            (ROUND_GOES_ON, "are not part of this job", "the trainer failed"),
        ),
    ),
    "What leaves a site": (
        Attempt("extra-tensors", "a tensor more than the job has", _FORM, ("are not part of this job",)),
        Attempt(
            "canary-in-tensor-names", "text in the names of tensors", _FORM, ("are not part of this job", "is missing")
        ),
        Attempt(
            "meta-in-tensor-file", "text in the metadata of the tensor file", f"{_FORM}; left behind", (ROUND_GOES_ON,)
        ),
        Attempt("other-shapes-and-types", "other shapes, other types, a tensor fewer", _FORM, _NOT_TENSORS),
        Attempt("not-a-number", "text in the bits of NaN; infinities", _FORM, ("is not finite",)),
        Attempt(
            "padded-tensor-file",
            "text around the tensors",
            _FORM,
            ("more bytes than the job's tensors take", "is not a safetensors file"),
        ),
        Attempt(
            "stray-keys-headers-and-meta",
            "keys, headers, cookies and meta that another component adds",
            f"{_FILTER}; left behind",
            (ROUND_GOES_ON,),
        ),
        Attempt(
            "swapped-reply",
            "another reply in the place of the one that passed",
            _FILTER,
            ("do not belong in it", "not the one that passed"),
        ),
        Attempt(
            "another-kind-of-data",
            "results of five other kinds, and one of none",
            _FILTER,
            ("do not belong in it", "not a valid DXO"),
        ),
        Attempt(
            "words-in-a-return-code",
            "text in the code of a reply that failed",
            f"{_FILTER}; left behind",
            ("EXECUTION_EXCEPTION",),
        ),
        Attempt("canary-in-metric-names", "text in the names of metrics", f"{_FORM}; left behind", (ROUND_GOES_ON,)),
        Attempt(
            "metrics-out-of-bounds",
            "metrics that are no such number",
            _FORM,
            ("is not between", "is not a finite number"),
        ),
        Attempt(
            "metrics-beyond-the-policys-bounds",
            "metrics outside the policy's bounds; the refusal does not quote them",
            "`metrics`",
            ("`metrics`",),
        ),
        Attempt(
            "update-above-the-norm",
            "an update longer than the policy allows; the refusal does not say how long",
            "`update-norm`",
            ("`update-norm`",),
        ),
        Attempt(
            "update-above-the-bytes",
            "an update of more bytes than the policy allows",
            "`update-size`",
            ("`update-size`",),
        ),
        Attempt(
            "job-above-its-bytes",
            "rounds that together have more bytes than the policy allows",
            "`update-size`",
            ("`update-size`: with this round",),
        ),
        Attempt(
            "more-rounds-than-admitted",
            "a server that asks for more rounds than the job states",
            "turn of rounds",
            _TURN,
        ),
        Attempt(
            "a-round-again", "a server that asks for a round twice, or for one that is past", "turn of rounds", _TURN
        ),
        Attempt(
            "a-second-beginning",
            "a server that has the job prepared a second time",
            "turn of rounds",
            ("a second time",),
        ),
        Attempt(
            "more-records-than-the-view",
            "a trainer that claims more records than it saw",
            _FORM,
            ("claims more records",),
        ),
        Attempt(
            "patient-text-in-errors",
            "errors that quote a record",
            "executor: errors in Cloister's own words",
            ("the site's job process failed", "the trainer failed"),
        ),
        Attempt(
            "patient-text-in-broken-records",
            "records that break their declaration, so that an error might quote them",
            "executor: errors in Cloister's own words",
            ("rows of dataset", "is not UTF-8", "is not a readable CSV file"),
        ),
        Attempt(
            "changed-after-admission",
            "another job than was admitted, in the site's workspace",
            "record of admission",
            ("not the one that was admitted",),
        ),
        Attempt(
            "started-twice",
            "a second job process under one admission",
            "record of admission",
            ("no record of having admitted",),
        ),
        Attempt(
            "revoked-while-it-runs", "a policy revoked between two rounds, and during one", _FORCE, ("was revoked by",)
        ),
    ),
    "What server and site send each other in a round": (
        Attempt(
            "one-update-as-the-average",
            "a job whose rule hands on one site's update, at sites that have theirs averaged",
            "`sites`",
            ("may leave the updates of no more than 1 of 7 sites",),
        ),
        Attempt(
            "weights-that-are-not-what-they-say",
            "a server's changes to weights that a site does not have, parts said to be all, sums beyond float32, bombs",
            _WEIGHTS,
            (
                "a change to weights that this site does not have",
                "says that they are not whole",
                "no longer finite",
                "goes on after its last value",
                "ends before its last value",
                "as long as its tensors",
            ),
        ),
        Attempt(
            "more-to-fold-in",
            "a server's factors to fold into the base model, in a job that folds none in, or too many",
            _WEIGHTS,
            ("folds nothing in", "does not fit the job's layers"),
        ),
        Attempt(
            "kept-tensors-that-leave",
            "what is to stay at the site, in the place of what leaves",
            _FORM,
            ("are not part of this job", "is missing"),
        ),
        Attempt(
            "counts-beyond-sums",
            "10^400 records, by which no mean can be weighted",
            "strict reading of a site's answer",
            ("a reply that is not one",),
        ),
        Attempt(
            "answers-without-end",
            "answers to what was never asked, and an update as large as the server's disk",
            "the server's end of rounds",
            ("unauthenticated", "not fetched"),
        ),
        Attempt(
            "update-that-inflates",
            "an update that inflates, has too many values or too few, or one that is not finite",
            "wire form",
            ("longer than its tensors can be", "as long as its tensors", "cannot be unpacked", "is not finite"),
        ),
    ),
    "Views, descriptions and images": (
        Attempt(
            "job-brings-a-filter",
            "a filter, Python, SQL or a path in a job's document, in keys and in names of columns and datasets",
            _STRICT,
            _DOCUMENT,
        ),
        Attempt(
            "labels-as-a-filter",
            "jobs that name other labels of marked pieces, so that their numbers of records differ",
            "view: what a job's labels leave out stays a record; left behind",
            (" rejected", "view: manifest.json"),
        ),
        Attempt(
            "split-by-a-rare-value",
            "seeds under which the sides of the split are the records with a value and those without",
            "view: records that are alike are each drawn for by themselves",
            (" rejected",),
        ),
        Attempt(
            "few-records-described",
            "a description of a value that two records have, and of two records",
            "suppression of small counts; view",
            ('"south":null', "of one person alone"),
        ),
        Attempt(
            "who-is-described",
            "descriptions of whom records are about, of a column that is not granted, and of free text",
            "`columns`; `free-text`",
            ("is an identifier", "is not among the granted columns", "the job reads free text"),
        ),
        Attempt(
            "settled-unasked",
            "a server that settles too early, twice, or a job that trains nothing",
            "turn of tasks",
            ("waits for no such thing", "before the site was ready"),
        ),
        Attempt(
            "settled-with-lies",
            "a server that says of the features what cannot be: others, fewer, sums that are none",
            "what the site described itself; strict reading of the message",
            ("cannot be so", "a task that is not one"),
        ),
        Attempt(
            "settled-with-no-numbers",
            "NaN, infinities, counts and variances below zero, further keys, a message of megabytes",
            "strict reading of the message",
            ("a task that is not one", "too long"),
        ),
        Attempt(
            "names-in-image-headers",
            "names in DICOM headers, private attributes and overlays, in NIfTI's descriptions, and in names of files",
            "view: images are written anew; left behind",
            ("000001.nii",),
        ),
        Attempt(
            "text-in-pictures",
            "pictures whose headers say that text is burned in, or that are of a kind that often has some",
            "store: `burned_in`",
            ("are unusable",),
        ),
        Attempt(
            "images-that-are-no-good",
            "images from outside of their folder, over a link, larger than they say, and such as inflate without end",
            "store: folder and header of an image",
            ("are unusable",),
        ),
        Attempt(
            "numbers-that-patterns-miss",
            "a telephone number with invisible characters, marks that join a digit, and digits of other scripts",
            "gate for free text; left behind",
            ("[PHONE_NUMBER]",),
        ),
        Attempt(
            "password-in-a-refusal",
            "a store that cannot be reached, or whose password others can read",
            "store: errors in Cloister's own words",
            ("nothing listens", "can be read by others"),
        ),
        Attempt(
            "bundle-that-runs-python",
            "a MONAI bundle that names any class, holds Python, or asks for weights from elsewhere",
            "bundle: read as data",
            ("that is not known", "which is not evaluated", "no argument's name", "from elsewhere", "by its values"),
        ),
    ),
    "Messages beside the job": (
        Attempt(
            "events-from-a-site", "analytics events and federated events out of a site's processes", _TRAFFIC, _DROPPED
        ),
        Attempt(
            "log-stream-from-a-site",
            "log lines, streamed out of a site's processes",
            f"{_TRAFFIC}; no streamer",
            _DROPPED,
        ),
        Attempt(
            "swarm-result-from-a-site",
            "an update as an auxiliary message, to the server or to another site",
            _TRAFFIC,
            _DROPPED,
        ),
        Attempt(
            "person-asks-a-site",
            "a person who asks a site's job process for a round, or commands it",
            _TRAFFIC,
            _DROPPED,
        ),
        Attempt("one-site-speaks-to-another", "a site that asks, or commands, another", _TRAFFIC, _DROPPED),
        Attempt(
            "anothers-name-in-a-message", "a person or site that gives another's name in a message", _TRAFFIC, _DROPPED
        ),
        Attempt(
            "server-wants-a-shell",
            "a server that tells a site's process to print files, its environment, or to stop",
            "commands of a site's process",
            ("no such command",),
        ),
    ),
    "Kits, requests, rosters and letters": (
        Attempt(
            "kit-that-inflates",
            "a kit of a few hundred bytes that inflates without end before its signature is looked at",
            "kit: nothing in it is compressed",
            ("the kit holds a compressed file",),
        ),
        Attempt(
            "revoked-key-again",
            "the request of a key that was revoked, sent again, and provisioning after a revocation",
            "authority: a revoked key is never certified again",
            ("was revoked",),
        ),
        Attempt(
            "renewal-sent-again",
            "a signed request for renewal sent again every hour, and as another's",
            "authority: one answer for one request",
            ("1 certificate", "was left as that of"),
        ),
        Attempt(
            "old-or-foreign-roster",
            "an older roster laid before a site, and one by an authority of the same name",
            "roster in force",
            ("no newer roster", "not trusted here"),
        ),
        Attempt(
            "grant-of-anothers-certificate",
            "another's certificate, or one that no roster lists, as the answer to a site's request",
            "judgement by the roster in force",
            ("is not that of", "issued"),
        ),
    ),
    "In a running federation": (
        Attempt(
            "administrative-commands",
            "NVFlare's commands of a console: shell, files, logs, environment, stopping, studies",
            "commands that the server takes",
            ("Unknown command",),
        ),
        Attempt(
            "code-in-a-log-configuration",
            "a logging configuration for one's own job that calls a program in the server's job process",
            "commands that the server takes",
            ("Unknown command",),
        ),
        Attempt(
            "session-in-anothers-name",
            "a session with one's own key under another's name",
            "login at the server",
            ("cannot be reached", "refused", "did not"),
        ),
        Attempt(
            "hostile-jobs-for-real",
            "the jobs above, sent by a person to a server with three sites",
            "as above",
            _CONFIG + _CARRIES + _META + _DOCUMENT + _LARGE + _LISTED,
        ),
        Attempt(
            "hostile-code-for-real",
            "approved hostile code at three sites, through a whole job",
            f"{_SANDBOX}; {_FORM}",
            ("completed",),
        ),
        Attempt("deleted-privacy-file-for-real", "`privacy.json` deleted at three sites that run", _KIT_CHECK, _KIT),
    ),
}

ATTEMPTS = tuple(attempt for group in GROUPS.values() for attempt in group)
BY_NAME = {attempt.name: attempt for attempt in ATTEMPTS}
RUNNING = GROUPS["In a running federation"]


def section() -> str:
    """The list as it stands in docs/threat-model.md, without its heading."""
    lines = []
    for title, attempts in GROUPS.items():
        lines += ["", f"### {title}", "", "| Attempt | What is tried | What refuses |", "|---|---|---|"]
        lines += [f"| {each.name} | {each.says} | {each.refused_by} |" for each in attempts]
    return "\n".join(lines)


if __name__ == "__main__":
    print(section())  # noqa: T201
