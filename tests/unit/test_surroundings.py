# -*- coding: utf-8 -*-
"""What is told of the place in which a gateway runs: containers, and macOS (C7, C8)."""
import errno

import pytest

import ws2s

ID = '0123456789abcdef' * 4


def sign(environment=None, groups='', files=()):
    return ws2s.container_sign(environment or {}, groups, lambda path: path in files)


@pytest.mark.parametrize('files', [['/.dockerenv'], ['/run/.containerenv'], ['/.dockerenv', '/run/.containerenv']],
                         ids=str)
def test_the_file_of_a_runtime_shows_a_container(files):
    assert sign(files=files) == files[0]


@pytest.mark.parametrize('name', ['docker', 'podman', 'lxc', 'oci', 'systemd-nspawn'])
def test_the_word_in_the_environment_shows_a_container(name):
    assert sign({'container': name}) == 'container=' + name


@pytest.mark.parametrize('groups', [
    '12:memory:/docker/%s\n', '0::/system.slice/docker-%s.scope\n', '4:cpu:/kubepods/besteffort/podab-cd/%s\n',
    '0::/kubepods.slice/kubepods-pod1.slice/cri-containerd-%s.scope\n', '0::/machine.slice/libpod-%s.scope\n',
    '1:name=systemd:/lxc/box\n', '0::/lxc.payload.box/init.scope\n', '9:cpu:/ecs/%s\n', '0::/../crio-%s.scope\n',
    '2:cpu:/\n1:pids:/docker/%s/docker/%s\n'], ids=repr)
def test_a_control_group_of_its_own_shows_a_container(groups):
    assert sign(groups=groups.replace('%s', ID)) != ''


@pytest.mark.parametrize('groups', [
    '', '0::/\n', '0::/user.slice/user-1000.slice/session-3.scope\n', '0::/system.slice/docker.service\n',
    '0::/system.slice/containerd.service\n', '0::/system.slice/kubelet.service\n', '0::/lxc.monitor.box\n',
    '1:name=systemd:/system.slice/lxcfs.service\n', '0::/user.slice/podman-123.scope\n', '0::/docker\n',
    '0::/user.slice/user-1000.slice/user@1000.service/app.slice/docker-desktop.service\n', '0::/home/docker/work\n',
    '0::/system.slice/docker-compose.service\n', '0::/system.slice/ws2s.service\n'], ids=repr)
@pytest.mark.parametrize('environment', [{}, {'container': ''}, {'container': 'mine'}, {'container': '1'},
                                         {'CONTAINER': 'docker'}, {'container': 'wsl'}, {'container': 'flatpak'}],
                         ids=str)
def test_outside_nothing_shows_one(groups, environment):
    assert sign(environment, groups, ['/', '/run', '/dockerenv']) == ''


@pytest.mark.parametrize('address, is_told', [
    ('127.0.0.1', True), ('127.5.5.5', True), ('::1', True), ('0.0.0.0', False), ('::', False), ('172.17.0.2', False),
    ('2001:db8::1', False)])
@pytest.mark.parametrize('is_inside', [True, False], ids=['in a container', 'outside'])
def test_whoever_listens_on_loopback_in_a_container_is_told_so_in_one_line(monkeypatch, address, is_told, is_inside):
    lines = []
    monkeypatch.setattr(ws2s, 'container_sign', lambda environment, groups: 'sign' if is_inside else '')
    monkeypatch.setattr(ws2s.LOG, 'info', lambda text, *arguments: lines.append(text % arguments))
    ws2s.tell_of_container(address)
    assert len(lines) == int(is_told and is_inside)
    assert all('0.0.0.0' in line and 'container (sign)' in line for line in lines)


@pytest.mark.parametrize('address', ['10.1.2.3', '192.168.0.9', '172.31.0.1', '169.254.1.1', 'fd00::1', 'fe80::1%en0'])
def test_on_macos_an_unreachable_neighbour_may_be_one_that_the_system_hides(address):
    failure = ws2s.connect_failure(errno.EHOSTUNREACH, address, 'darwin')
    assert failure._replace(why='') == ws2s.UNREACHABLE and 'Local Network' in failure.why
    assert ws2s.connect_failure(errno.EHOSTUNREACH, address, 'linux') == ws2s.UNREACHABLE


@pytest.mark.parametrize('number, address', [
    (errno.EHOSTUNREACH, '192.0.2.1'), (errno.EHOSTUNREACH, '2001:db8::1'), (errno.EHOSTUNREACH, '127.0.0.1'),
    (errno.EHOSTUNREACH, '172.32.0.1'), (errno.ENETUNREACH, '10.1.2.3'), (errno.ECONNREFUSED, '10.1.2.3'),
    (errno.ETIMEDOUT, 'fd00::1'), (errno.EMFILE, '10.1.2.3')])
@pytest.mark.parametrize('platform', ['darwin', 'linux', 'freebsd14'])
def test_of_any_other_failure_nothing_more_is_told(number, address, platform):
    assert ws2s.connect_failure(number, address, platform) == ws2s.failure_of(number)
