# -*- coding: utf-8 -*-
import os
import pytest
import test_close, test_crosstalk, test_flow, test_protocol, test_live_raw, test_live_wisp
from pki import Authority
from tls_client import TlsClient, trusting

MODULES = test_close, test_crosstalk, test_flow, test_protocol, test_live_raw, test_live_wisp
MODULES = [m for m in MODULES if m.__name__ in os.environ.get('MODS', '')]
pytestmark = pytest.mark.usefixtures('no_mistakes')
for m in MODULES:
    globals().update({k: v for k, v in vars(m).items() if not k.startswith('__') and k not in globals() and k not in ('RawClient','pytestmark')})


@pytest.fixture(scope='module')
def authority(tmpdir_factory):
    return Authority(str(tmpdir_factory.mktemp('pki')))


@pytest.fixture(scope='module')
def pair(authority):
    return authority.issue()


@pytest.fixture
def over_tls(monkeypatch, authority):
    class Client(TlsClient):
        def __init__(self, address, **options):
            TlsClient.__init__(self, address, trusting(authority.certificate), **options)
    for module in MODULES:
        monkeypatch.setattr(module, 'RawClient', Client)
    return Client


@pytest.fixture
def running_gateway(running_gateway, over_tls, pair):
    def start(config=None, **parameters):
        config = dict(config or {})
        config['listen'] = dict(config.get('listen', {'port': 0}), tls=True)
        config['tls'] = dict(config.get('tls', {}), certificate=pair.certificate, key=pair.key)
        return running_gateway(config, **parameters)
    return start


@pytest.fixture
def client(gateway, over_tls):
    with over_tls(gateway.address) as raw:
        yield raw.open()
