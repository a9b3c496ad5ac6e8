"""Over TLS only a server is spoken to whose certificate is vouched for, and is for its name."""

import base64
import ssl
from pathlib import Path

import pytest
from missions import service
from missions.domain.errors import StoreUnavailable

from tests.cluster import cluster
from tests.conftest import fresh_sandbox


def test_a_server_whose_certificate_nobody_vouches_for_is_not_spoken_to(monkeypatch: pytest.MonkeyPatch) -> None:
    with cluster(1, tls=True) as one:
        for url, works in ((one.url, True), (one.url.partition("?")[0], False)):
            monkeypatch.setenv("REDIS_URL", url)
            fresh_sandbox()
            if works:
                service.check_health()
            else:
                with pytest.raises(StoreUnavailable) as raised:
                    service.check_health()
                assert "CERTIFICATE_VERIFY_FAILED" in str(raised.value.__cause__)
    fresh_sandbox()


def test_a_server_whose_certificate_is_for_another_name_is_not_spoken_to(monkeypatch: pytest.MonkeyPatch) -> None:
    with cluster(1, tls=True) as one:
        monkeypatch.setenv("REDIS_URL", one.url.replace("@127.0.0.1:", "@localhost:"))
        fresh_sandbox()
        with pytest.raises(StoreUnavailable) as raised:
            service.check_health()
        assert "CERTIFICATE_VERIFY_FAILED" in str(raised.value.__cause__)
    fresh_sandbox()


def test_a_server_of_a_private_authority_is_spoken_to_when_its_certificate_is_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with cluster(1, tls=True) as one:
        url, _, file = one.url.partition("?ssl_ca_certs=")
        pem = Path(file).read_text()
        der = ssl.PEM_cert_to_DER_cert(pem[pem.index("-----BEGIN CERTIFICATE-----") :])
        monkeypatch.setenv("REDIS_URL", url)
        monkeypatch.setenv("REDIS_CA", base64.b64encode(der).decode())
        fresh_sandbox()
        service.check_health()
    fresh_sandbox()


@pytest.mark.parametrize("given", ["nonsense!", "QUJD" * 50])
def test_a_certificate_that_is_none_makes_the_store_unavailable(monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    monkeypatch.setenv("REDIS_URL", "rediss://127.0.0.1:1")
    monkeypatch.setenv("REDIS_CA", given)
    fresh_sandbox()
    with pytest.raises(StoreUnavailable):
        service.check_health()
    fresh_sandbox()
