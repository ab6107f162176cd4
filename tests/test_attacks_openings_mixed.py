"""Three honest key holders are shown three different sets; nobody opened two.

Their answers, and the shares of the corrupt holders, combine in the exponent to a
weighted sum of two disjoint sets. Binding every answer to its set ends that.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import gmpy2
import pytest
from gmpy2 import mpz

import crypto.binding
import crypto.key_holder
from crypto import packing
from crypto.errors import BadPartialError, DecryptionRefusedError
from crypto.manifest import SIMULATION, KeySet, Manifest
from crypto.public_key import lagrange
from crypto.roster import Roster
from crypto.threshold import _plaintext
from crypto.wire import Entry, OpenRequest, pack_integers, unpack_integers
from tests.attack_table import Attack
from tests.cheating_server import CheatingServer
from tests.crypto_group import (
    Round,
    dealt,
    identities,
    make_contribution,
    make_facts,
    make_params,
    shares_of,
)

# Holders, threshold and malicious holders; the first three holders are honest.
COMMITTEES = [(4, 3, 1), (5, 4, 2)]


def crowd(num_holders: int, threshold: int, max_corrupt: int) -> Round:
    """Return a round of eight clients: room for two lawful sets without a member."""
    params = make_params(
        num_holders=num_holders,
        threshold=threshold,
        max_corrupt=max_corrupt,
        min_contributors=max_corrupt + 2,
        max_contributors=8,
    )
    roster = Roster.of(identities(8), num_holders)
    keys = KeySet(dealt(num_holders, threshold)[0], roster, SIMULATION)
    return Round(Manifest(keys, params), make_facts())


@dataclass(frozen=True)
class Mixer:
    """Asks three honest holders about G1+G2, G1 and G2, and mixes their answers.

    Attributes:
        one: A round of eight clients.
        groups: Contributions of two lawful sets without a common member.
        made_up_powers: Whether the server claims binding powers of 1.
    """

    one: Round
    groups: tuple[Sequence[Entry], Sequence[Entry]]
    made_up_powers: bool = False

    @property
    def sets(self) -> tuple[list[int], list[int]]:
        """Holders whose answers open G1, and G2; holder 1 is in both."""
        return [1, 2, *self.corrupt], [1, 3, *self.corrupt]

    @property
    def corrupt(self) -> list[int]:
        """Holders that give their shares to the server."""
        return list(range(4, 2 + self.one.manifest.params.threshold))

    @property
    def weights(self) -> tuple[int, int]:
        """How often each group is in the mix: holder 1 then weighs the same in both."""
        delta, (first, second) = self.one.manifest.keys.public_key.delta, self.sets
        ratio = Fraction(lagrange(delta, second, 1), lagrange(delta, first, 1))
        return ratio.numerator, ratio.denominator

    def coefficients(self) -> list[dict[int, int]]:
        """Return every holder's exponent for G1, and for G2."""
        delta = self.one.manifest.keys.public_key.delta
        return [
            {i: weight * lagrange(delta, holders, i) for i in holders}
            for weight, holders in zip(self.weights, self.sets, strict=True)
        ]

    def open(self) -> list[mpz]:
        """Open the weighted sum of both groups.

        Raises:
            BadPartialError: If the mix is no root.
        """
        first, second = self.groups
        both = sorted([*first, *second], key=lambda entry: entry.client_id)
        shown = {1: both, 2: first, 3: second}
        answers = {holder: self._answer(holder, shown[holder]) for holder in shown}
        server = CheatingServer(self.one)
        sums = zip(server.total(first), server.total(second), strict=True)
        return [
            self._open_one({i: answers[i][place] for i in answers}, *pair)
            for place, pair in enumerate(sums)
        ]

    def _answer(self, holder: int, entries: Sequence[Entry]) -> list[mpz]:
        key, request = self.one.manifest.keys.public_key, self._request(entries)
        reply = self.one.opener(holder).answer(request, None)
        return unpack_integers(reply.partials, self.one.sum.num_ciphertexts, key)

    def _request(self, entries: Sequence[Entry]) -> OpenRequest:
        request = CheatingServer(self.one).request(entries)
        if not self.made_up_powers:
            return request
        key, count = self.one.manifest.keys.public_key, self.one.sum.num_ciphertexts
        return replace(request, powers=pack_integers([mpz(1)] * count, key))

    def _open_one(self, answers: dict[int, mpz], c1: mpz, c2: mpz) -> mpz:
        key = self.one.manifest.keys.public_key
        of_first, of_second = self.coefficients()
        _, shares = shares_of(key.num_holders, key.threshold)
        factors = [(answers[i], (of_first | of_second)[i]) for i in answers]
        for i in self.corrupt:
            exponent = 2 * key.delta * shares[i - 1].secret
            factors.append((gmpy2.powmod(c1, exponent, key.n), of_first[i]))
            factors.append((gmpy2.powmod(c2, exponent, key.n), of_second[i]))
        w = mpz(1)
        for base, exponent in factors:
            w = w * gmpy2.powmod(base, 2 * exponent, key.n) % key.n
        a, b = self.weights
        mixed = c1**a * c2**b % key.n_squared
        try:
            return _plaintext(key, mixed, w, 4 * key.delta**2)
        except ValueError:
            raise BadPartialError("the mix is not the root of anything") from None


def make_mixer(committee: tuple[int, int, int], *, made_up_powers: bool) -> Mixer:
    """Have eight clients upload, and split them into two groups."""
    one = crowd(*committee)
    entries = [one.upload(i.client_id, signer=i).entry() for i in identities(8)]
    return Mixer(one, (entries[:4], entries[4:]), made_up_powers)


def wanted(mixer: Mixer) -> list[mpz]:
    """Return the weighted sum of both groups' plaintexts, mod n."""
    one, (a, b) = mixer.one, mixer.weights
    params, n = one.manifest.params, one.manifest.keys.public_key.n
    first, second = (
        packing.pack(
            one.encoded_sum([make_contribution(i) for i in ids]),
            slot_bits=params.slot_bits,
            slots_per_plaintext=params.slots_per_plaintext,
        )
        for ids in (range(1, 5), range(5, 9))
    )
    return [(a * x + b * y) % n for x, y in zip(first, second, strict=True)]


@pytest.mark.parametrize("committee", COMMITTEES)
@pytest.mark.attack("three members shown three different lawful sets")
def test_three_lawful_sets(
    committee: tuple[int, int, int], attack: Attack, monkeypatch: pytest.MonkeyPatch
) -> None:
    mixer = make_mixer(committee, made_up_powers=False)
    n = mixer.one.manifest.keys.public_key.n

    with monkeypatch.context() as off:
        off.setattr(crypto.binding, "binding", lambda *_: mpz(1))
        leaked = [plaintext % n for plaintext in mixer.open()]
    assert leaked == wanted(mixer)
    a, b = mixer.weights
    attack.leaked(f"{a} times the sum of one set plus {b} times that of another")

    with attack.refused(BadPartialError, "not the root"):
        mixer.open()


@pytest.mark.parametrize("committee", COMMITTEES)
@pytest.mark.attack("the same, and the server makes up the binding powers")
def test_three_lawful_sets_with_made_up_powers(
    committee: tuple[int, int, int], attack: Attack, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The holders let the server compute u**n for them: with 1 the binding is gone.
    mixer = make_mixer(committee, made_up_powers=True)
    n = mixer.one.manifest.keys.public_key.n

    with monkeypatch.context() as off:
        off.setattr(crypto.key_holder, "check_binding_powers", lambda *_: None)
        leaked = [plaintext % n for plaintext in mixer.open()]
    assert leaked == wanted(mixer)
    attack.leaked("the same weighted sum of two sets")

    with attack.refused(DecryptionRefusedError, "binding powers are not those"):
        mixer.open()
