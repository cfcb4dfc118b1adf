# Looks at the ways between hosts, from one host to its peers and from them to it: TCP, ICMP, and real datagrams with a mark of
# this run, on the ports that the overlay uses, seen on the other side twice: as they come off the wire, and behind the firewall.
# Runs on every host at the same time. Needs nothing but Perl's own Socket, which is part of every Debian and Ubuntu.
# Arguments: MARK INDEX VXLAN-PORT ESP(0|1) MTU, then for each peer INDEX,ADDRESS,TCPPORT[:TCPPORT...]
# Says `ready`, waits for a line, sends, says what it found and `sent`, waits for another line, says what it has seen.
use strict;
use Socket qw(:DEFAULT inet_aton pack_sockaddr_in unpack_sockaddr_in SOL_SOCKET SO_ERROR SOCK_RAW);
use Fcntl;
use Errno qw(EINPROGRESS EPERM EMSGSIZE ECONNREFUSED EHOSTUNREACH ENETUNREACH EACCES);

# From linux/if_packet.h, linux/if_ether.h, linux/in.h, asm-generic/socket.h, linux/filter.h.
my ($PF_PACKET, $ETH_P_IP, $IP_MTU_DISCOVER, $IP_PMTUDISC_PROBE, $SO_ATTACH_FILTER) = (17, 0x0800, 10, 3, 26);
# How long a TCP connection may take, in seconds: the second SYN goes out after one, the third after three.
my $TCP_DEADLINE = 2;
# How often each datagram is sent: one may be lost on a healthy way.
my $REPEATS = 3;
# Pause between rounds, in seconds, so that a shared fault of some milliseconds does not hit all of them.
my $PAUSE = 0.1;
# Steps of the search for the path MTU, in bytes up to 1500, and how many steps above that.
my ($MTU_STEP, $JUMBO_STEPS) = (10, 30);
# What passes every way of IPv4, and from where the steps begin.
my ($MTU_FLOOR, $MTU_BEGIN) = (576, 1200);
# How long an agent lives at most, in seconds, whatever happens to the one that waits for it.
my $LIFETIME = 40;
alarm $LIFETIME;
$| = 1;

# SO_RCVBUFFORCE, and room for what comes while this program waits for a busy processor: fifty peers send some ten thousand packets
# in all, and one that found no room would look like one that the network lost.
my ($SO_RCVBUFFORCE, $ROOM) = (33, 8 << 20);

my ($mark, $own, $vxlan, $esp, $mtu, @peers) = @ARGV;
@peers = map { my ($index, $address, $ports) = split /,/; { index => $index, address => $address, ports => [split /:/, $ports] } } @peers;
my ($VXLAN, $GOSSIP, $ESP, $SWEEP) = (1, 2, 3, 4);

# Lets only packets of this run through, so that a busy host notices nothing: the mark is 11 bytes into the payload of UDP or ESP.
sub filter {
    my ($socket) = @_;
    my @program = (
        pack('SCCL', 0xb1, 0, 0, 0),         # X = length of the IP header
        pack('SCCL', 0x40, 0, 0, 8 + 11),    # A = word behind the UDP header
        pack('SCCL', 0x15, 2, 0, $mark),     # is it the mark?
        pack('SCCL', 0x40, 0, 0, 8 + 3),     # A = word behind the ESP header
        pack('SCCL', 0x15, 0, 1, $mark),
        pack('SCCL', 0x06, 0, 0, 65535),     # yes
        pack('SCCL', 0x06, 0, 0, 0),         # no
    );
    my $code = join '', @program;
    setsockopt($socket, SOL_SOCKET, $SO_ATTACH_FILTER, pack('S x![P] P', scalar @program, $code)) or die "filter: $!\n";
    setsockopt($socket, SOL_SOCKET, $SO_RCVBUFFORCE, $ROOM) or setsockopt($socket, SOL_SOCKET, SO_RCVBUF, $ROOM);
    fcntl($socket, F_SETFL, fcntl($socket, F_GETFL, 0) | O_NONBLOCK);
}
socket(my $wire, $PF_PACKET, SOCK_DGRAM, unpack('S', pack('n', $ETH_P_IP))) or die "packet socket: $!\n";
filter($wire);
my @behind;
for my $protocol (17, $esp ? 50 : ()) {
    socket(my $socket, PF_INET, SOCK_RAW, $protocol) or die "raw socket: $!\n";
    filter($socket);
    push @behind, $socket;
}
socket(my $icmp, PF_INET, SOCK_RAW, 1) or die "ICMP socket: $!\n";
fcntl($icmp, F_SETFL, fcntl($icmp, F_GETFL, 0) | O_NONBLOCK);

my (%seen, %echo);
sub note {
    my ($where, $packet) = @_;
    my $header = (ord($packet) & 0xf) * 4;
    my $protocol = ord substr $packet, 9, 1;
    my $payload = substr $packet, $header + ($protocol == 17 ? 8 : 0);
    my ($found, $index, $kind) = unpack 'N n C', substr $payload, 11, 7;
    return unless defined $kind && $found == $mark;
    my $entry = $seen{"$index $kind"} ||= { from => inet_ntoa(substr $packet, 12, 4), wire => 0, behind => 0, wiremax => 0, behindmax => 0 };
    my $size = unpack 'n', substr $packet, 2, 2;
    $entry->{$where}++;
    $entry->{"${where}max"} = $size if $size > $entry->{"${where}max"};
}
sub drain {
    my $packet;
    while (defined recv($wire, $packet, 65535, 0)) { note('wire', $packet) }
    for my $socket (@behind) { while (defined recv($socket, $packet, 65535, 0)) { note('behind', $packet) } }
    while (defined recv($icmp, $packet, 65535, 0)) {
        my $header = (ord($packet) & 0xf) * 4;
        my ($type, undef, undef, $id, $sequence) = unpack 'C C n n n', substr $packet, $header, 8;
        $echo{$sequence} = 1 if $type == 0 && $id == ($mark & 0xffff);
    }
}
# Sleeps no longer than that, and reads what comes meanwhile.
sub attend {
    my ($seconds) = @_;
    my $ready = '';
    vec($ready, fileno($_), 1) = 1 for $wire, @behind, $icmp;
    select($ready, undef, undef, $seconds);
    drain();
}
sub uptime { open my $file, '<', '/proc/uptime' or die; (split ' ', <$file>)[0] }
# Waits for a line on standard input while packets are read; false when the other end is gone.
sub order {
    while (1) {
        my $ready = '';
        vec($ready, fileno(STDIN), 1) = 1;
        vec($ready, fileno($_), 1) = 1 for $wire, @behind, $icmp;
        select($ready, undef, undef, undef);
        drain();
        return sysread STDIN, my $line, 64 if vec($ready, fileno(STDIN), 1);
    }
}
sub reason {
    return 'denied' if $! == EPERM || $! == EACCES;
    return 'toolong' if $! == EMSGSIZE;
    return 'refused' if $! == ECONNREFUSED;
    return 'unreachable' if $! == EHOSTUNREACH || $! == ENETUNREACH;
    (my $text = "$!") =~ s/\s+/_/g;
    return $text;
}

print "ready\n";
exit 0 unless order();

# TCP: all at once.
my @connections;
for my $peer (@peers) {
    for my $port (@{ $peer->{ports} }) {
        socket(my $socket, PF_INET, SOCK_STREAM, 6) or die "TCP socket: $!\n";
        fcntl($socket, F_SETFL, fcntl($socket, F_GETFL, 0) | O_NONBLOCK);
        my $state = connect($socket, pack_sockaddr_in($port, inet_aton($peer->{address}))) ? 'ok' : $! == EINPROGRESS ? '' : reason();
        push @connections, { socket => $socket, peer => $peer, port => $port, state => $state };
    }
}
# Datagrams. One with the header of VXLAN and a network number that nobody has is dropped by the kernel that gets it; an answer to a
# question that nobody asked (memberlist's message 2) is dropped by the engine that gets it.
my %error;
sub datagram {
    my ($kind, $size) = @_;
    my $tail = pack 'N n C', $mark, $own, $kind;
    my $text = $kind == $GOSSIP ? "\x02\x82\xa7Payload\xa7$tail\xa5SeqNo\xce\xff\xff\xff\xff"
        : $kind == $ESP ? pack('N N', 0xfffffff0, 1) . "\0\0\0$tail"
        : pack('N N', 0x08000000, 0xfffffe00) . "\0\0\0$tail";
    # 20 bytes of IP and 8 of UDP are before it.
    return $size ? $text . "\0" x ($size - 28 - length $text) : $text;
}
socket(my $udp, PF_INET, SOCK_DGRAM, 17) or die "UDP socket: $!\n";
socket(my $whole, PF_INET, SOCK_DGRAM, 17) or die "UDP socket: $!\n";
setsockopt($whole, 0, $IP_MTU_DISCOVER, pack 'i', $IP_PMTUDISC_PROBE) or die "don't fragment: $!\n";
sub dispatch {
    my ($socket, $peer, $kind, $port, $size) = @_;
    return if defined send($socket, datagram($kind, $size), 0, pack_sockaddr_in($port, inet_aton($peer->{address})));
    $error{"$peer->{index} $kind"} ||= reason() unless $kind == $SWEEP && $! == EMSGSIZE;
}
my @sizes = ($MTU_FLOOR);
for (my $size = $MTU_BEGIN; $size < $mtu; $size += $size < 1500 ? $MTU_STEP : int(($mtu - 1500) / $JUMBO_STEPS) + 1) { push @sizes, $size }
push @sizes, $mtu;
for my $round (1 .. $REPEATS) {
    for my $peer (@peers) {
        dispatch($udp, $peer, $VXLAN, $vxlan, 0);
        dispatch($udp, $peer, $GOSSIP, 7946, 0);
        dispatch($behind[1], $peer, $ESP, 0, 0) if $esp;
        my $head = pack 'C C n n n', 8, 0, 0, $mark & 0xffff, $peer->{index};
        my $sum = 0;
        $sum += $_ for unpack 'n*', $head;
        $sum = ($sum & 0xffff) + ($sum >> 16);
        substr($head, 2, 2) = pack 'n', ~$sum & 0xffff;
        send($icmp, $head, 0, pack_sockaddr_in(0, inet_aton($peer->{address})));
    }
    attend($PAUSE);
    for my $size (@sizes) {
        dispatch($whole, $_, $SWEEP, $vxlan, $size) for @peers;
        drain();
    }
    attend($PAUSE);
}
my $end = uptime() + $TCP_DEADLINE;
while (grep { $_->{state} eq '' } @connections and uptime() < $end) {
    my $ready = '';
    vec($ready, fileno($_->{socket}), 1) = 1 for grep { $_->{state} eq '' } @connections;
    select(undef, $ready, undef, $PAUSE);
    for my $connection (grep { $_->{state} eq '' && vec($ready, fileno($_->{socket}), 1) } @connections) {
        $! = unpack 'i', getsockopt($connection->{socket}, SOL_SOCKET, SO_ERROR);
        $connection->{state} = $! == 0 ? 'ok' : reason();
    }
    drain();
}
for my $connection (@connections) {
    print "tcp $connection->{peer}{index} $connection->{port} ", $connection->{state} || 'timeout', "\n";
}
for my $peer (@peers) {
    print "icmp $peer->{index} ", $echo{ $peer->{index} } ? 'ok' : 'none', "\n";
    for my $kind ($VXLAN, $GOSSIP, $esp ? $ESP : (), $SWEEP) {
        print "sent $peer->{index} $kind ", $error{"$peer->{index} $kind"} || 'ok', "\n";
    }
}
print "sent\n";
exit 0 unless order();
attend($PAUSE);
for my $key (sort keys %seen) {
    my $entry = $seen{$key};
    print "seen $key $entry->{from} $entry->{wire} $entry->{behind} $entry->{wiremax} $entry->{behindmax}\n";
}
print "end\n";
