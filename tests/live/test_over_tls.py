# -*- coding: utf-8 -*-
"""What holds for a gateway holds for one that speaks TLS: the tests of other files, over wss."""

import pytest

import test_close
import test_crosstalk
import test_flow
import test_live_raw
import test_live_wisp
import test_protocol
from pki import Authority
from raw_client import RawClient
from test_live_wisp import wisp  # noqa: F401
from test_protocol import connected  # noqa: F401
from tls_client import TlsSocket, trusting

pytestmark = [pytest.mark.usefixtures('no_mistakes'), pytest.mark.programs]

# Some of each file: what is about bytes, their order and their end.
TAKEN = {
    test_close: (
        'a_close_is_echoed_and_then_comes_a_fin', 'what_is_on_its_way_when_we_close_does_not_reset_the_connection',
        'nothing_after_a_close_is_obeyed', 'replies_and_pongs_that_are_owed_come_before_the_close',
        'a_client_that_reads_late_gets_all_and_then_the_close', 'a_client_that_just_ends_gets_a_fin',
        'a_gateway_that_stops_says_1001_and_waits_for_the_echo', 'a_client_is_cut_off_in_the_end'),
    test_flow: (
        'client_that_reads_nothing_stalls_its_target_and_gets_every_byte_later',
        'target_that_reads_nothing_stalls_its_client_and_gets_every_byte_later',
        'one_message_far_above_bufferBytes_arrives_whole', 'window_is_filled_never_exceeded_and_moves_with_each_ack',
        'what_was_taken_reaches_a_slow_target_when_the_client_leaves_by',
        'code_5_comes_after_the_last_byte_when_the_client_reads_late',
        'close_of_the_client_is_answered_after_what_was_on_its_way',
        'client_that_is_gone_while_it_had_not_read_is_noticed_at_once',
        'silent_client_is_pinged_and_lives_as_long_as_it_answers',
        'client_that_takes_too_much_of_totalBytes_is_ended_and_the_small_ones_live_on',
        'clients_that_do_not_read_together_hold_no_more_than_totalBytes'),
    test_live_raw: (
        'bytes_go_both_ways_and_a_servers_first_word_comes_at_once', 'what_comes_with_the_request_reaches_the_target',
        'a_slow_reader_gets_the_tail_of_a_target_that_has_gone',
        'what_a_client_sends_before_its_close_reaches_the_target', 'the_reset_of_a_target_is_no_end',
        'a_compressed_message_waits_for_its_target'),
    test_live_wisp: (
        'a_stream_echoes_and_ends_with_its_target', 'an_upload_of_any_packets_comes_whole',
        'what_comes_before_a_close_or_the_end_of_the_websocket_reaches_the_target',
        'fifty_downloads_come_whole_beside_a_stuck_upload'),
    test_protocol: (
        'a_first_frame_may_come_with_the_headers', 'a_crowd_that_comes_at_once_is_served',
        'connect_send_receive_and_close_are_byte_exact', 'losses_are_byte_exact',
        'pipelined_requests_are_answered_once_each_and_in_order', 'many_connects_in_one_read_lose_nothing',
        'a_target_that_closes', 'a_target_that_resets', 'the_target_sees_the_end_of_the_client',
        'what_was_taken_reaches_the_target_whatever_follows', 'connect_send_and_end_in_one_segment_deliver',
        'what_waits_for_a_connect_is_delivered_though_the_client_has_left',
        'binary_connections_bring_binary_messages_and_json_replies', 'a_message_may_come_in_any_number_of_fragments',
        'a_download_arrives_whole', 'what_waits_for_a_slow_client_goes_to_no_other',
        'close_during_a_blocked_download_cuts_no_frame', 'a_large_message_does_not_hold_up_others'),
}
globals().update(('test_' + name, getattr(module, 'test_' + name)) for module in TAKEN for name in TAKEN[module])


def test_no_byte_of_50_clients_is_wrong_or_crosses(running_gateway, small_kernel_buffers):
    test_crosstalk.test_no_byte_of_50_clients_is_wrong_or_crosses(running_gateway, small_kernel_buffers, 1, 200000)


@pytest.fixture(scope='module')
def context_and_settings(tmpdir_factory):
    """What a client trusts, and the Config of `tls`."""
    authority = Authority(str(tmpdir_factory.mktemp('pki')))
    return trusting(authority.certificate), authority.issue()._asdict()


@pytest.fixture(autouse=True)
def clients_speak_tls(monkeypatch, context_and_settings):
    begin = RawClient.__init__

    def begin_securely(client, *arguments, **options):
        begin(client, *arguments, **options)
        client.sock = TlsSocket(client.sock, context_and_settings[0])

    monkeypatch.setattr(RawClient, '__init__', begin_securely)


@pytest.fixture
def running_gateway(running_gateway, context_and_settings):
    def start(config=None, **parameters):
        tls = {'listen': {'port': 0, 'tls': True}, 'tls': dict(context_and_settings[1])}
        return running_gateway(dict(config or {}, **tls), **parameters)
    return start
