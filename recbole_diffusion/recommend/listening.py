"""On which address and port is listened?"""

import socket

from recbole_diffusion.config.values import ConfigError


def listen(host, port):
    """Opens a port, before a model is read.

    Args:
        host (str): the address, like 127.0.0.1, which only this machine reaches.
        port (int): 0 takes a free one.

    Returns:
        socket.socket: that listens.

    Raises:
        ConfigError: if the port is in use, or the address cannot be listened on.
    """
    if not 0 <= port < 1 << 16:
        raise ConfigError(f"port {port} is not in 0..65535")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen(2048)
    except (OSError, UnicodeError) as wrong:
        listening.close()
        raise ConfigError(
            f"cannot listen on {host}, port {port}: {getattr(wrong, 'strerror', None) or wrong}"
        ) from wrong
    return listening
