# Looks at what leaves this host while the probes talk: VXLAN in clear from its probe to the others', and IP protocol 50 (ESP). Only what
# goes out: what comes in may be seen before or after it is deciphered. Reads only. Needs nothing but Perl's own Socket.
# Arguments: VXLAN-PORT LIFETIME OWN-PROBE-ADDRESS PROBE-ADDRESS...
# Says `ready`, waits for a line or the end of its input, says `clear PROBE-ADDRESS COUNT` and `esp HOST-ADDRESS COUNT`, and `end`.
use strict;
use Socket qw(inet_ntoa SOL_SOCKET SOCK_DGRAM);
use Fcntl;

# From linux/if_packet.h, linux/if_ether.h, asm-generic/socket.h, linux/filter.h.
my ($PF_PACKET, $ETH_P_ALL, $SO_ATTACH_FILTER, $SO_RCVBUFFORCE, $ROOM) = (17, 0x0003, 26, 33, 8 << 20);
my ($PACKET_OUTGOING, $PROTOCOL, $PACKET_TYPE) = (4, 0xfffff000, 0xfffff004);

my ($vxlan, $lifetime, $own, @others) = @ARGV;
alarm $lifetime;
$| = 1;
my %probe = map { $_ => 1 } @others;

# Only sockets for all protocols see what goes out; the rest of a busy host's packets is left to the kernel.
socket(my $wire, $PF_PACKET, SOCK_DGRAM, unpack('S', pack('n', $ETH_P_ALL))) or die "packet socket: $!\n";
my @program = (
    pack('SCCL', 0x20, 0, 0, $PACKET_TYPE),
    pack('SCCL', 0x15, 0, 9, $PACKET_OUTGOING),
    pack('SCCL', 0x20, 0, 0, $PROTOCOL),
    pack('SCCL', 0x15, 0, 7, 0x0800),
    pack('SCCL', 0x30, 0, 0, 9),         # the protocol of IP
    pack('SCCL', 0x15, 4, 0, 50),
    pack('SCCL', 0x15, 0, 4, 17),
    pack('SCCL', 0xb1, 0, 0, 0),         # X = length of the IP header
    pack('SCCL', 0x48, 0, 0, 2),         # the port it goes to
    pack('SCCL', 0x15, 0, 1, $vxlan),
    pack('SCCL', 0x06, 0, 0, 128),       # yes: all headers
    pack('SCCL', 0x06, 0, 0, 0),         # no
);
my $code = join '', @program;
setsockopt($wire, SOL_SOCKET, $SO_ATTACH_FILTER, pack('S x![P] P', scalar @program, $code)) or die "filter: $!\n";
setsockopt($wire, SOL_SOCKET, $SO_RCVBUFFORCE, $ROOM);
fcntl($wire, F_SETFL, fcntl($wire, F_GETFL, 0) | O_NONBLOCK);

my (%clear, %esp);
sub drain {
    my $packet;
    while (defined recv($wire, $packet, 256, 0)) {
        next if length $packet < 28;
        if (ord(substr $packet, 9, 1) == 50) { $esp{ inet_ntoa(substr $packet, 16, 4) }++; next }
        # UDP, VXLAN, Ethernet and IP, each behind the one before.
        my $inner = substr $packet, (ord($packet) & 0xf) * 4 + 8;
        next unless length $inner >= 8 + 14 + 20 && ord($inner) & 0x08 && unpack('n', substr $inner, 20, 2) == 0x0800;
        my ($from, $to) = map { inet_ntoa(substr $inner, 22 + $_, 4) } 12, 16;
        $clear{$to}++ if $from eq $own && $probe{$to};
    }
}
print "ready\n";
while (1) {
    my $ready = '';
    vec($ready, fileno($_), 1) = 1 for \*STDIN, $wire;
    select($ready, undef, undef, undef);
    drain();
    last if vec($ready, fileno(STDIN), 1);
}
drain();
print "clear $_ $clear{$_}\n" for sort keys %clear;
print "esp $_ $esp{$_}\n" for sort keys %esp;
print "end\n";
