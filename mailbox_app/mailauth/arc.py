"""ARC chains of received messages (RFC 8617), read and judged strictly.

`read_chain` collects the sets and checks the structure; what is wrong with it is a failed `ArcResult` already. `verify_chain`
checks the newest message signature, then every seal, then how far back the older message signatures hold. Keys and body
hashes come from the caller. Nothing here waits or raises. The work is linear in the number of sets, of which there
are at most fifty.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import dkim
from dkim.canonicalization import CanonicalizationPolicy, InvalidCanonicalizationPolicyError

from mailbox_app.mailauth.canonical import CanonicalHeader, relaxed_field, without_signature
from mailbox_app.mailauth.dkim_verify import BodyForm, BodyHashes, Signature, header_digest, header_names, key_name
from mailbox_app.mailauth.key_records import MIN_RSA_BITS, find_key
from mailbox_app.mailauth.results import ArcResult, ArcSet, DkimResult, Result
from mailbox_app.mailauth.tag_list import TagListError, parse_tags, with_known_query, without_blanks
from mailbox_app.proto.header import Field, Header, unfold
from mailbox_app.proto.parameters import strip_comments

MAX_SETS = 50  # RFC 8617 4.2.1
_RESULTS, _MESSAGE, _SEAL = b"arc-authentication-results", b"arc-message-signature", b"arc-seal"
ARC_FIELDS = (_RESULTS, _MESSAGE, _SEAL)
_SEAL_TAGS = (b"i", b"a", b"b", b"cv", b"d", b"s", b"t")  # RFC 8617 4.1.3: no others mean anything
_ALGORITHMS = (b"rsa-sha256", b"ed25519-sha256")
_MAX_FIELD_BYTES = 8_192
_MAX_RESULTS_BYTES = 32_768
_MAX_SIGNED_NAMES = 200
_MAX_HEADER_FIELDS = 2_000
_INSTANCE = re.compile(rb"[0-9]{1,2}")
_RESULTS_INSTANCE = re.compile(rb"[ \t\r\n]*i[ \t\r\n]*=[ \t\r\n]*([0-9]{1,2})[ \t\r\n]*;")
_DOMAIN = re.compile(
    r"(?=.{1,253}\Z)[^\s\x00-\x20!-,/:-@\[-^`{-\x7f.]{1,63}(?:\.[^\s\x00-\x20!-,/:-@\[-^`{-\x7f.]{1,63})*"
)
_BASE64 = re.compile(rb"[A-Za-z0-9+/]+={0,2}")


class _Broken(Exception):
    """The chain fails, and why."""


@dataclass(frozen=True, slots=True)
class Seal:
    """One ARC-Seal field, read."""

    tags: Mapping[bytes, bytes]
    domain: str
    selector: str

    @property
    def key_name(self) -> str:
        """Where the key record is."""
        return key_name(self.selector, self.domain)


@dataclass(frozen=True, slots=True)
class Link:
    """One set of a chain."""

    instance: int
    fields: tuple[Field, Field, Field]
    """In the order in which they are sealed: results, message signature, seal."""
    signature: Signature | None
    """None when it cannot be read, which only the newest set must not have."""
    seal: Seal

    def outline(self) -> ArcSet:
        """The set as a result."""
        text = unfold(self.fields[0].value).partition(b";")[2].strip(b" \t")
        return ArcSet(self.instance, self.seal.domain, self.seal.selector, text.decode("utf-8", "replace"))


@dataclass(frozen=True, slots=True)
class Chain:
    """A chain whose structure is right, oldest set first."""

    links: Sequence[Link]

    def key_names(self) -> Sequence[str]:
        """All names to ask for keys, each once."""
        names = [link.seal.key_name for link in self.links]
        names += [link.signature.key_name for link in self.links if link.signature is not None]
        return list(dict.fromkeys(names))

    def body_forms(self) -> Sequence[BodyForm]:
        """The forms in which the body is needed."""
        forms: list[BodyForm] = []
        for signature in [link.signature for link in self.links if link.signature is not None]:
            forms.append(signature.form)
            if b"c" not in signature.tags:
                forms.append((True, signature.form[1]))
        return forms


class _Collection:
    """The ARC fields of a header by instance, whether they are in order or not."""

    def __init__(self, fields: Sequence[Field]) -> None:
        self.sets: dict[int, dict[bytes, Field]] = {}
        self.tags: dict[tuple[int, bytes], Mapping[bytes, bytes]] = {}
        self.problem = ""
        for field in fields:
            try:
                self._add(field)
            except _Broken as error:
                self.problem = self.problem or str(error)
        self.highest = max(self.sets, default=0)
        self.ended = self.tags.get((self.highest, _SEAL), {}).get(b"cv") == b"fail"

    def _add(self, field: Field) -> None:
        instance, tags = _instance(field)
        found = self.sets.setdefault(instance, {})
        if field.key in found:
            raise _Broken(f"instance {instance} has a field twice")
        found[field.key] = field
        self.tags[instance, field.key] = tags


def read_chain(header: Header) -> Chain | ArcResult:
    """The chain of a header; a result when there is none (`none`) or it is broken already (`fail`). RFC 8617 5.2."""
    fields = [field for field in header.fields if field.key in ARC_FIELDS]
    if not fields:
        return ArcResult(Result.NONE)
    found = _Collection(fields[: 3 * MAX_SETS])
    problem = found.problem
    if found.ended:
        problem = "a forwarder found the chain broken"
    elif len(fields) > 3 * MAX_SETS or len(header.fields) > _MAX_HEADER_FIELDS:
        problem = "too many fields"
    if not problem:
        try:
            return Chain([_link(instance, found) for instance in range(1, found.highest + 1)])
        except _Broken as error:
            problem = str(error)
    return ArcResult(Result.FAIL, reason=problem, instance=found.highest, ended=found.ended)


def _instance(field: Field) -> tuple[int, Mapping[bytes, bytes]]:
    """The instance, and the tags of a field that is a tag list. RFC 8617 4.2.1."""
    tags: Mapping[bytes, bytes] = {}
    if field.key == _RESULTS:
        if len(field.value) > _MAX_RESULTS_BYTES:
            raise _Broken("a field is too long")
        match = _RESULTS_INSTANCE.match(field.value) or _RESULTS_INSTANCE.match(strip_comments(unfold(field.value)))
        digits = match[1] if match else b""
    else:
        if len(field.value) > _MAX_FIELD_BYTES:
            raise _Broken("a field is too long")
        try:
            tags = parse_tags(field.value)
        except TagListError as error:
            raise _Broken(f"a field cannot be read: {error}") from error
        digits = tags.get(b"i", b"")
    if not _INSTANCE.fullmatch(digits) or not 1 <= int(digits) <= MAX_SETS:
        raise _Broken("a field has no valid instance")
    return int(digits), tags


def _link(instance: int, collection: _Collection) -> Link:
    found = collection.sets.get(instance, {})
    if len(found) != 3:
        raise _Broken(f"instance {instance} is not complete")
    tags = collection.tags[instance, _SEAL]
    if tags.get(b"cv") != (b"none" if instance == 1 else b"pass"):  # RFC 8617 5.2 3c
        raise _Broken(f"the seal {instance} has the wrong cv=")
    if b"h" in tags:  # RFC 8617 4.1.3
        raise _Broken(f"the seal {instance} has h=")
    _check_tags({name: tags[name] for name in _SEAL_TAGS if name in tags}, _SEAL_TAGS[:-1])
    seal = Seal(tags, _name(tags[b"d"]), _name(tags[b"s"]))
    signature: Signature | None = None
    try:
        signature = _signature(found[_MESSAGE], collection.tags[instance, _MESSAGE])
    except _Broken:
        if instance == collection.highest:
            raise
    return Link(instance, (found[_RESULTS], found[_MESSAGE], found[_SEAL]), signature, seal)


def _check_tags(tags: Mapping[bytes, bytes], mandatory: Sequence[bytes]) -> None:
    """What all signatures of ARC share. dkimpy's own rules know only RSA here."""
    if tags.get(b"a") not in _ALGORITHMS:
        raise _Broken("an unknown or no algorithm")
    try:
        # RFC 8617 4.1.2: a v= tag has no meaning here
        known = {name: value for name, value in with_known_query(tags).items() if name != b"v"} | {b"a": b"rsa-sha256"}
        # its expression for base64 is quadratic in white space
        known |= {name: without_blanks(tags[name]) for name in (b"b", b"bh") if name in tags}
        dkim.validate_signature_fields(known, list(mandatory), arc=True)
    except (dkim.DKIMException, ValueError, IndexError) as error:  # a t= of thousands of digits, ...
        raise _Broken(f"a field cannot be read: {error}"[:100]) from error
    for name in (b"b", b"bh"):
        if name in mandatory and not _BASE64.fullmatch(without_blanks(tags[name])):
            raise _Broken("a signature is not base64")


def _name(raw: bytes) -> str:
    name = raw.decode("utf-8", "replace").lower()
    if not _DOMAIN.fullmatch(name):
        raise _Broken("a domain or selector is no name")
    return name


def _signature(field: Field, tags: Mapping[bytes, bytes]) -> Signature:
    _check_tags(tags, (b"i", b"a", b"b", b"bh", b"d", b"h", b"s"))
    names = header_names(tags[b"h"])
    if b"from" not in names or b"arc-seal" in names or len(names) > _MAX_SIGNED_NAMES:
        raise _Broken("a message signature covers the wrong fields")
    try:
        policy = CanonicalizationPolicy.from_c_value(tags.get(b"c", b"simple/simple"))
    except InvalidCanonicalizationPolicyError as error:
        raise _Broken("an unknown canonical form") from error
    form = (policy.body_algorithm.name == b"relaxed", int(tags[b"l"]) if tags.get(b"l") else None)
    draft = DkimResult(Result.NONE, domain=_name(tags[b"d"]), selector=_name(tags[b"s"]), algorithm=tags[b"a"].decode())
    return Signature(tags, names, (field.name, field.value), policy.header_algorithm.name == b"relaxed", form, draft)


def verify_chain(
    chain: Chain, header: CanonicalHeader, keys: Mapping[str, Sequence[str] | str], body: BodyHashes
) -> ArcResult:
    """Judge a chain; `keys` has the TXT records of each key name, or why they could not be had. RFC 8617 5.2."""
    sets = [link.outline() for link in chain.links]
    newest = len(chain.links)
    failed = ArcResult(Result.FAIL, tuple(sets), instance=newest)
    needed = {link.seal.key_name for link in chain.links}
    if chain.links[-1].signature is not None:
        needed.add(chain.links[-1].signature.key_name)
    unknown = next((records for name in needed if isinstance(records := keys[name], str)), None)
    if unknown is not None:
        # RFC 8617 5.2.1 calls this a failure for ever; what was never looked at is rather left to a later receiver
        return replace(failed, result=Result.TEMPERROR, reason=unknown)
    why = _check_message(chain.links[-1], header, keys, body)
    if why:
        return replace(failed, reason=f"message signature {newest}: {why}")
    for link, digest in reversed(list(zip(chain.links, seal_digests(chain.links), strict=True))):
        why = _check(link.seal.key_name, link.seal.tags, keys, digest)
        if why:
            return replace(failed, reason=f"seal {link.instance}: {why}")
    oldest = newest
    valid = {newest}
    for link in reversed(chain.links[:-1]):
        if _check_message(link, header, keys, body):
            break
        oldest = link.instance
        valid.add(oldest)
    checked = [
        replace(each, message_valid=each.instance in valid) if each.instance >= oldest - 1 else each for each in sets
    ]
    return ArcResult(Result.PASS, tuple(checked), 0 if oldest == 1 else oldest, instance=newest)


def _check(name: str, tags: Mapping[bytes, bytes], keys: Mapping[str, Sequence[str] | str], digest: bytes) -> str:
    """What is wrong with one signature."""
    records = keys[name]
    if isinstance(records, str):
        return records
    key, problem = find_key(records, tags[b"a"])
    if key is None:
        return problem
    if key.bits and key.bits < MIN_RSA_BITS:
        return "the key is too short"
    try:
        given = base64.b64decode(without_blanks(tags[b"b"]), validate=True)
    except binascii.Error:
        return "it is not base64"
    return "" if key.verify(given, digest) else "it does not match"


def _check_message(
    link: Link, header: CanonicalHeader, keys: Mapping[str, Sequence[str] | str], body: BodyHashes
) -> str:
    signature = link.signature
    if signature is None:
        return "it cannot be read"
    found = body.digests.get(signature.form)
    relaxed, limit = signature.form
    if limit is not None and limit < body.sizes[relaxed]:
        return "only a part of the body is signed"
    # Without c= both defaults are in use, that of DKIM and the relaxed one of ARC's drafts: either proves the message.
    forms = [(signature.relaxed, found)]
    if b"c" not in signature.tags:
        forms.append((True, body.digests.get((True, limit))))
    why = "the body was changed"
    try:
        claimed = base64.b64decode(without_blanks(signature.tags[b"bh"]), validate=True)
    except binascii.Error:
        return "it is not base64"
    for header_relaxed, hashed in forms:
        if claimed == hashed:
            digest = header_digest(signature, header, relaxed=header_relaxed, guard=False)
            why = _check(signature.key_name, signature.tags, keys, digest)
            if not why:
                return ""
    return why


def seal_digests(links: Sequence[Link]) -> Iterator[bytes]:
    """What each seal signs: all sets up to its own, the own seal without its signature. RFC 8617 5.1.1."""
    hasher = hashlib.sha256()
    for link in links:
        results, message, seal = link.fields
        hasher.update(relaxed_field(results.name, results.value) + b"\r\n")
        hasher.update(relaxed_field(message.name, message.value) + b"\r\n")
        own = hasher.copy()
        own.update(relaxed_field(seal.name, without_signature(seal.value)))
        yield own.digest()
        hasher.update(relaxed_field(seal.name, seal.value) + b"\r\n")
