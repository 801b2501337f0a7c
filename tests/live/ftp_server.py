# -*- coding: utf-8 -*-
"""A real FTP server of our own, vsftpd, with TLS, and one user."""

import os

from mail_servers import running_mail_server
from ssh_server import administrative, write

USER, PASSWORD = 'anonymous', 'secret'
# An anonymous one with a password: all others are users of this machine. vsftpd enters the home of ftp_username.
VSFTPD = u'''
listen=YES
listen_address=127.0.0.1
listen_port={port}
background=NO
anonymous_enable=YES
secure_email_list_enable=YES
email_password_file={folder}/passwords
ftp_username=daemon
nopriv_user=nobody
secure_chroot_dir={folder}/empty
anon_root={folder}/root
write_enable=YES
anon_upload_enable=YES
anon_mkdir_write_enable=YES
anon_other_write_enable=YES
anon_umask=022
pasv_address=127.0.0.1
ssl_enable=YES
allow_anon_ssl=YES
rsa_cert_file={certificate}
rsa_private_key_file={key}
require_ssl_reuse=NO
vsftpd_log_file={folder}/log-main
'''


def running_vsftpd(certified):
    """A MailServer, which speaks FTP, passive, with TLS or without. It would not take data whose TLS is no part of the
    login's, as its default has it: a gateway has none to go on with."""
    program = administrative('vsftpd', 'vsftpd')

    def command(config):
        folder = os.path.dirname(config)
        for name in ('empty', 'root', 'root/incoming'):
            os.mkdir(os.path.join(folder, name), 0o755)
        os.chmod(os.path.join(folder, 'root/incoming'), 0o777)
        write(os.path.join(folder, 'passwords'), PASSWORD + u'\n')
        return [program, config]

    return running_mail_server(command, VSFTPD, certified)
