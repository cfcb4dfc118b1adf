# Whether one of these answers on its TCP port from here. Reads only. Arguments: SECONDS ADDRESS PORT [ADDRESS PORT...]
# Exit status 0: one does. 1: none; then a line each says how it did not.
use strict;
use Socket qw(:all);
use Fcntl;
use Errno qw(EINPROGRESS ECONNREFUSED);

# How often one is tried that refuses: it may be about to listen.
my $PAUSE = 0.3;
my ($seconds, @wanted) = @ARGV;
my $end = time + $seconds;
my %how;
do {
    for (my $at = 0; $at < @wanted; $at += 2) {
        my ($address, $port) = @wanted[$at, $at + 1];
        my ($error, $found) = getaddrinfo($address, $port, { socktype => SOCK_STREAM, flags => AI_NUMERICHOST });
        if ($error || !$found) { $how{$address} = "TCP $port of $address: $error"; next }
        socket(my $socket, $found->{family}, SOCK_STREAM, 0) or next;
        fcntl($socket, F_SETFL, O_NONBLOCK);
        my $left = ($end - time) / (@wanted / 2);
        exit 0 if connect($socket, $found->{addr});
        if ($! == EINPROGRESS) {
            my $ready = '';
            vec($ready, fileno($socket), 1) = 1;
            # The second SYN goes out after a second, the third after three.
            if (!select(undef, $ready, undef, $left > 1.5 ? $left : 1.5)) { $how{$address} = "TCP $port of $address does not answer"; next }
            $! = unpack 'i', getsockopt($socket, SOL_SOCKET, SO_ERROR);
            exit 0 if $! == 0;
        }
        $how{$address} = $! == ECONNREFUSED ? "TCP $port of $address is refused" : "TCP $port of $address: $!";
    }
    select(undef, undef, undef, $PAUSE);
} while (time < $end);
print "$how{$_}\n" for sort keys %how;
exit 1;
