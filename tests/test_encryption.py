"""unpickled consume over TLS: real brokers with certificates, right and wrong ones."""

import re
import socket
import threading
from contextlib import suppress
from dataclasses import replace

import pytest
from brokers import FLOWER_BODY, Certificate, brokers, consuming, running
from certificates import Authority
from conftest import BIN, environment, eventually, free_port, run

from unpickled.server.errors import ConfigError
from unpickled.server.streams.address import parsed
from unpickled.server.streams.broker import BrokerAway, Source, SourceOptions
from unpickled.server.streams.registry import broker_of

REDIS = [parameter for parameter in brokers() if parameter.values == ("redis",)]
OPTIONS = SourceOptions(group="scorers", member="one")
# The words of a refusal -> their part of an address, and what replaces it.
WRONG = {
    r"its certificate is not trusted \(.*certificate.*\): name the file of its authority by ca": (
        "authority.pem",
        "other.pem",
    ),
    # Another way to write this host, which the certificate does not have.
    r"its certificate is not trusted \(Hostname mismatch.*127\.1": ("127.0.0.1", "127.1"),
}


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate for brokers, from one of two authorities."""
    folder = tmp_path_factory.mktemp("certificates")
    authority, _ = Authority(folder), Authority(folder, "other")
    return Certificate(*authority.issue("broker"), authority.path, free_port())


@pytest.fixture(scope="module", params=brokers("kafka", "quorum"))
def broker(request, certificate, tmp_path_factory):
    """A broker that speaks TLS."""
    with running(request.param, tmp_path_factory.mktemp(request.param), certificate=certificate) as broker:
        yield broker


def source(address: str) -> Source:
    return broker_of(parsed(address)).source(parsed(address), OPTIONS)


def attempted(action) -> bool:
    """Whether the broker is there."""
    with suppress(BrokerAway):
        action()
        return True
    return False


def test_messages_are_answered_over_tls(broker, models, tmp_path):
    """Messages come and answers go over encrypted connections; the lines say so."""
    broker.send(f"{tmp_path.name}-flowers", [FLOWER_BODY, b"oops"])
    with consuming(tmp_path, models.path, broker) as consumer:
        eventually(lambda: len(broker.read(f"{tmp_path.name}-dead")) == 1)
        eventually(lambda: consumer.answered() == 1)
        assert consumer.finish() == 0
    assert len(broker.read(f"{tmp_path.name}-scored")) == 1
    place = broker.address(f"{tmp_path.name}-scored")
    assert f"to {parsed(place)}\n" in consumer.printed()
    assert place.partition(":")[0] in ("amqps", "natss", "rediss")
    # No line is one of a library, which says nothing to the reader.
    assert all(line.startswith(("Unpickled ", "  ", "ended: ")) for line in consumer.printed().splitlines())


@pytest.mark.parametrize("reason", WRONG, ids=["another authority", "another host"])
def test_a_wrong_certificate_ends_the_command(broker, models, tmp_path, reason):
    """A broker whose certificate is not trusted is none that is away: the sentence has the reason."""
    words = [broker.address("flowers").replace(*WRONG[reason]), "--to", broker.address("scored")]
    words += ["--models", str(models.path), "--model", "iris"]
    completed = run([BIN / "unpickled", "consume", *words], cwd=tmp_path, env=environment())
    assert completed.returncode == 1
    sentence = rf"error: {words[0].partition('/flowers')[0]} is refused: {reason}"
    assert re.match(sentence, completed.stderr.splitlines()[-1])


def test_an_encrypted_broker_goes_and_comes(broker, models, tmp_path):
    """A broker that is killed is waited for over TLS, too."""
    broker.send(f"{tmp_path.name}-flowers", [FLOWER_BODY])
    with consuming(tmp_path, models.path, broker) as consumer:
        eventually(lambda: consumer.answered() == 1)
        broker.kill()
        eventually(lambda: "is away (" in consumer.printed())
        broker.start()
        broker.send(f"{tmp_path.name}-flowers", [FLOWER_BODY.replace(b"5.1", b"5.2")])
        # A broker may have forgotten the first acknowledgement: both messages are then answered together.
        answers = f"{tmp_path.name}-scored"
        eventually(lambda: len({str(answer["probabilities"]) for answer in broker.read(answers)}) == 2)
        assert consumer.finish() == 0


@pytest.mark.parametrize("name", brokers("kafka", "quorum", "redis"))
def test_a_broker_without_tls_gets_no_password(name, tmp_path):
    """An address for TLS is never answered by a connection without it, whatever the broker says."""
    with running(name, tmp_path) as broker:
        scheme, _, place = broker.address("flowers").partition("://")
        with pytest.raises(ConfigError, match="does not speak TLS: correct the port or the scheme"):
            source(f"{scheme}s://me:secret@{place}").lag()


@pytest.mark.parametrize("name", REDIS)
def test_a_certificate_that_is_asked_for_is_told(name, certificate, tmp_path):
    """A server that wants a certificate of its clients refuses them for good.

    Now and then it has gone before its reason is read: the consumer tries again.
    """
    with running(name, tmp_path, certificate=replace(certificate, port=free_port())) as broker:
        with broker.client() as client:
            client.config_set("tls-auth-clients", "yes")
        reader = source(broker.address("flowers"))
        with pytest.raises(ConfigError, match="it asks for a certificate, and none is given here"):
            eventually(lambda: attempted(reader.lag))


@pytest.mark.parametrize("name", REDIS)
def test_a_wrong_certificate_of_kafka_is_told(name, certificate, tmp_path):
    """The handshake comes before all else, so that any server with a certificate shows the refusal."""
    with running(name, tmp_path, certificate=replace(certificate, port=free_port())) as broker:
        other = certificate.authority.with_name("other.pem")
        address = f"kafkas://127.0.0.1:{broker.certificate.port}/flowers?ssl.ca.location={other}"
        with pytest.raises(ConfigError, match=r"certificate verify failed.*: correct the certificates"):
            source(address).lag()


@pytest.mark.parametrize("scheme", ["amqps", "kafkas", "natss", "rediss"])
def test_a_handshake_that_breaks_off_is_no_refusal(scheme):
    """A server that starts anew in the middle of a handshake is away: the consumer goes on trying."""

    def hang_up() -> None:
        with suppress(OSError):
            while True:
                server.accept()[0].close()

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=hang_up, daemon=True).start()
        reader = source(f"{scheme}://127.0.0.1:{server.getsockname()[1]}/flowers")
        with pytest.raises(BrokerAway):
            reader.lag()
        reader.close()


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("amqp://h/a?ca=x", "ca is for amqps://, and amqp://h/a is not encrypted: leave one of them out"),
        ("natss://h/a?ca=nowhere", "ca of natss://h/a is 'nowhere': No such file"),
        (f"rediss://h/a?ca={__file__}", "which has no certificates in PEM"),
    ],
)
def test_a_wrong_file_of_authorities_is_told_at_the_start(address, reason):
    """No connection is tried with a file that cannot be used."""
    with pytest.raises(ConfigError, match=reason):
        source(address)
