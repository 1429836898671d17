# SPDX-License-Identifier: Apache-2.0
"""The last look at a reply inside a site's job process: NVFlare's result filter, named in the site's `privacy.json`.

The executor's reply passed the gate in `cloister.egress` as bytes, or as a file of them. The filter takes those out of
whatever it is handed, sees that they are the ones that passed, and puts them into a fresh Shareable. Headers, meta,
stray keys and whatever another component may have added stay behind. It raises where anything is amiss: NVFlare then
sends an error code and nothing else.
"""

from __future__ import annotations

from nvflare.apis.filter import Filter
from nvflare.apis.fl_constant import ReturnCode
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import Shareable, make_reply

from cloister.errors import EgressError
from cloister.flare.exchange import content_of, digest_of, reply_with
from cloister.flare.payload import Payload, stamp_of

_PASSED, _RELEASED = "cloister_passed_the_gate", "cloister_was_released"

_CODES = frozenset(value for name, value in vars(ReturnCode).items() if name.isupper())


def note_passed(fl_ctx: FLContext, reply: Shareable, digest: str | None = None) -> Shareable:
    """Remember that ``reply`` passed the gate, and its ``digest`` where that is known already; returns it."""
    content = content_of(reply)
    _note(fl_ctx, _PASSED, *content, digest or digest_of(*content))
    return reply


def released_digest(fl_ctx: FLContext, message: bytes, tensors: Payload) -> str | None:
    """The digest of exactly this, if the filter let it out in ``fl_ctx``; it is asked once."""
    return _digest_if(fl_ctx, _RELEASED, message, tensors)


def _note(fl_ctx: FLContext, mark: str, message: bytes, tensors: Payload, digest: str) -> None:
    fl_ctx.set_prop(mark, (message, tensors, digest, stamp_of(tensors)), private=True, sticky=False)


def _digest_if(fl_ctx: FLContext, mark: str, message: bytes, tensors: Payload) -> str | None:
    """The digest of what was remembered under ``mark``, if it is this; it is forgotten then.

    Hundreds of megabytes are not hashed again where they are the very same bytes, which do not change, or the same
    file, of which can be told that nobody has written to it.
    """
    noted = fl_ctx.get_prop(mark)
    fl_ctx.set_prop(mark, None, private=True, sticky=False)
    if not isinstance(noted, tuple):
        return None
    own, own_tensors, digest, stamp = noted
    same = own_tensors is tensors and stamp is not None and stamp == stamp_of(tensors)
    if own == message and (same or digest == digest_of(message, tensors)):
        return str(digest)
    return None


def code_of(reply: Shareable) -> str:
    """The code of a reply: a word of NVFlare's; any other text in its place stays here."""
    code = reply.get_return_code()
    return str(code) if code in _CODES else ReturnCode.EXECUTION_EXCEPTION


class EgressFilter(Filter):
    """Lets out what passed the gate, as it passed, and nothing else."""

    def process(self, shareable: Shareable, fl_ctx: FLContext) -> Shareable:
        """The reply, built anew.

        Raises:
            EgressError: where the reply is not the one that passed the gate.
        """
        code = code_of(shareable)
        if code != ReturnCode.OK:
            return make_reply(code)
        message, tensors = content_of(shareable)
        digest = _digest_if(fl_ctx, _PASSED, message, tensors)
        if digest is None:
            raise EgressError("the reply is not the one that passed the gate")
        _note(fl_ctx, _RELEASED, message, tensors, digest)
        return reply_with(message, tensors)
