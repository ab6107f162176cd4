"""What server and key holders check alike: one contributor's signed part of a round.

The server checks an upload when it arrives, and every key holder once more: nobody
takes anybody's word for it. Implements PROTOCOL.md sections 8.3 and 8.6.
"""

from collections.abc import Sequence
from functools import partial
from hashlib import sha256

from gmpy2 import mpz

from crypto.encoding import u32
from crypto.errors import MalformedMessageError
from crypto.knowledge import verify as verify_knowledge
from crypto.layout import Layout
from crypto.manifest import Manifest
from crypto.memo import Memo
from crypto.parallel import parallel_map, process_map
from crypto.public_key import PublicKey
from crypto.wire import DIGEST_BYTES, Entry, unpack_ciphertexts

# Verifying takes half a millisecond a ciphertext at 3072 bits: from two seconds on it
# is worth starting processes, which get a few hundred at a time.
_MANY_CIPHERTEXTS = 4096
_CHUNK_CIPHERTEXTS = 256

proven = Memo()  # entries whose proofs this process has made or verified


def proven_as(entry: Entry, context: bytes, public_key: PublicKey) -> bytes:
    """Return the digest under which `proven` has an entry of a round."""
    return sha256(context + public_key.digest() + entry.to_bytes()).digest()


def check_entry(
    entry: Entry, context: bytes, manifest: Manifest, layout: Layout
) -> list[mpz]:
    """Check one contributor's part in full; server and key holders do the same.

    Returns:
        The ciphertexts; none in mode plain.

    Raises:
        InvalidSignatureError: If the client is unknown or did not sign this.
        InvalidProofError: If it does not prove that it knows what it encrypted.
        MalformedMessageError: If parts are missing, too many or out of range.
    """
    mode = manifest.params.mode
    if (entry.bulk_digest == bytes(DIGEST_BYTES)) != (mode == "paillier"):
        raise MalformedMessageError
    manifest.keys.roster.verify(
        entry.client_id, entry.signature, entry.signed_bytes(context)
    )
    if mode == "plain":
        if entry.ciphertexts or entry.proof:
            raise MalformedMessageError
        return []
    key = manifest.keys.public_key
    count = manifest.params.num_ciphertexts(layout.num_values)
    ciphertexts = unpack_ciphertexts(entry.ciphertexts, count, key)
    fact = proven_as(entry, context, key)
    if fact not in proven:
        verify_knowledge(entry.statement(context), ciphertexts, entry.proof, key)
        proven.add(fact)
    return ciphertexts


def check_entries(
    entries: Sequence[Entry], context: bytes, manifest: Manifest, layout: Layout
) -> list[list[mpz]]:
    """Check every contributor's part, on every core.

    Returns:
        The ciphertexts of each.

    Raises:
        CryptoError: As `check_entry`, for the first that is wrong.
    """
    check = partial(check_entry, context=context, manifest=manifest, layout=layout)
    count = manifest.params.num_ciphertexts(layout.num_values)
    if len(entries) * count < _MANY_CIPHERTEXTS:
        return parallel_map(check, entries)
    return process_map(check, entries, at_once=-(-_CHUNK_CIPHERTEXTS // count))


def set_digest(context: bytes, entries: Sequence[Entry]) -> bytes:
    """Hash a round's context and its contributions: SD, 32 bytes."""
    digest = sha256(b"SA/v1/set" + context)
    for entry in entries:
        digest.update(u32(entry.client_id) + entry.bulk_digest)
        digest.update(sha256(entry.ciphertexts).digest())
    return digest.digest()
