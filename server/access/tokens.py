"""Bearer tokens: JSON Web Tokens that somebody else signs, checked by its public keys (RFC 7519, 8725)."""

from typing import Any, NamedTuple

import jwt
from jwt.algorithms import has_crypto

from unpickled.server.access.signers import Signer, Signers
from unpickled.server.config import Access
from unpickled.server.errors import ConfigError, Unauthorized
from unpickled.server.quote import printable, quoted, shortened

# Signatures of a key pair. "none" is no signature, and HS256 and its like are made with a secret: somebody
# who knows the public key could make them, where a server took the public key for that secret.
_ALGORITHMS = {
    "RS256": "RSA", "RS384": "RSA", "RS512": "RSA", "PS256": "RSA", "PS384": "RSA", "PS512": "RSA",
    "ES256": "EC", "ES384": "EC", "ES512": "EC", "EdDSA": "OKP",
}  # fmt: skip
# Clocks may differ by so many seconds.
_LEEWAY = 10
# Longest token, in characters, and longest name of a caller.
_LONGEST, _LONGEST_NAME = 16 * 1024, 64
# Keys that are tried for a token that names none.
_MOST_TRIED = 4


class Claims(NamedTuple):
    """The content of a valid token: its ``name`` (sub), its scopes, and the Unix time at which it expires."""

    name: str
    scopes: frozenset[str]
    expires: float


class Tokens:
    """Checks tokens.

    Args:
        access: The audience and the issuer that tokens must have.
        signers: The keys that sign them.

    Attributes:
        signers: The same.
    """

    def __init__(self, access: Access, signers: Signers) -> None:
        if not has_crypto:
            raise ConfigError("jwks needs cryptography: pip install 'unpickled[jwt]'")
        self._audience, self._issuer = access.jwt_audience, access.jwt_issuer
        self.signers = signers
        self._options: Any = {
            "require": ["exp"],
            "verify_aud": self._audience is not None,
            "verify_iss": self._issuer is not None,
        }

    def read(self, token: str) -> Claims:
        """The claims of a token.

        Raises:
            Unauthorized: The token is not valid here; the sentence says why.
            NotReady: The keys that sign tokens could not be fetched yet.
        """
        if len(token) > _LONGEST:
            raise refused(f"the token is longer than {_LONGEST} characters")
        try:
            header = jwt.get_unverified_header(token)
            claims = self._checked(token, header)
            return Claims(_name(claims), _scopes(claims), float(claims["exp"]) + _LEEWAY)
        # Some claims, such as an infinite number, are more than the library expects.
        except (jwt.PyJWTError, ValueError, TypeError, OverflowError) as error:
            raise refused(_sentence(error)) from None

    def _checked(self, token: str, header: dict[str, Any]) -> dict[str, Any]:
        algorithm, name = header.get("alg"), header.get("kid")
        if not isinstance(algorithm, str) or algorithm not in _ALGORITHMS:
            raise refused(
                f"the token is signed with {quoted(algorithm)}: only {', '.join(_ALGORITHMS)} are taken"
            )
        signers = [key for key in self.signers.of(name) if _fits(key, algorithm)][:_MOST_TRIED]
        if not signers:
            raise refused(
                f"the key {quoted(name)} that signs the token is not known here (yet): ask again in a minute"
            )
        for signer in signers[:-1]:
            try:
                return self._decoded(token, signer, algorithm)
            except jwt.InvalidSignatureError:
                continue
        return self._decoded(token, signers[-1], algorithm)

    def _decoded(self, token: str, signer: Signer, algorithm: str) -> dict[str, Any]:
        key = jwt.PyJWK(dict(signer), algorithm)
        claims: dict[str, Any] = jwt.decode(
            token, key, [algorithm], self._options,
            audience=self._audience, issuer=self._issuer, leeway=_LEEWAY,
        )  # fmt: skip
        return claims


def refused(reason: str) -> Unauthorized:
    """The error for a key or a token that is not taken."""
    return Unauthorized(
        reason, headers={"WWW-Authenticate": 'Bearer realm="unpickled", error="invalid_token"'}
    )


def _fits(key: Signer, algorithm: str) -> bool:
    return key.get("kty") == _ALGORITHMS[algorithm] and key.get("alg", algorithm) == algorithm


def _sentence(error: Exception) -> str:
    reasons: dict[type[Exception], str] = {
        jwt.ExpiredSignatureError: "the token has expired: ask for a new one",
        jwt.InvalidSignatureError: "the signature of the token is wrong: send it as it was issued",
        jwt.InvalidAudienceError: "the token is for another audience: ask for one for this server",
        jwt.InvalidIssuerError: "the token comes from another issuer: ask the one that this server trusts",
        jwt.ImmatureSignatureError: "the token is not valid yet: wait, or set the clocks right",
    }
    return reasons.get(type(error)) or f"the token is not valid: {shortened(printable(str(error)), 100)}"


def _name(claims: dict[str, Any]) -> str:
    """The subject, or else the client, on one line."""
    name = next((claims[claim] for claim in ("sub", "client_id", "azp") if claims.get(claim)), "token")
    return shortened(printable(str(name)), _LONGEST_NAME)


def _scopes(claims: dict[str, Any]) -> frozenset[str]:
    """The words of ``scope`` (RFC 8693) and of ``scp``, which some issuers write as a list."""
    words: set[str] = set()
    for claim in (claims.get("scope"), claims.get("scp")):
        words.update(
            claim.split() if isinstance(claim, str) else map(str, claim if isinstance(claim, list) else ())
        )
    return frozenset(words)
