# Looks at the wires of this host while the probes talk, for what should only be inside of the mesh: the probes' tokens in clear, and packets
# of ports that the fabric listens on, between hosts of the cluster. Reads only. Needs nothing but Perl's own Socket.
# Arguments: LIFETIME MESH-PORT INTERFACES PORTS ADDRESSES TOKENS, lists with commas; ports such as `udp/4789`.
# Says `ready`, waits for a line or the end of its input, says `seen WHAT PEER COUNT` for each, and `end`.
use strict;
use Socket qw(inet_ntoa SOL_SOCKET SOCK_DGRAM);
use Fcntl;

# From linux/if_packet.h, linux/if_ether.h, asm-generic/socket.h, linux/filter.h.
my ($PF_PACKET, $ETH_P_ALL, $SO_ATTACH_FILTER, $SO_RCVBUFFORCE, $ROOM) = (17, 0x0003, 26, 33, 8 << 20);
my $PROTOCOL = 0xfffff000;

my ($lifetime, $mesh, $interfaces, $ports, $addresses, $tokens) = @ARGV;
alarm $lifetime;
$| = 1;
my %port = map { $_ => 1 } split /,/, $ports;
my %host = map { $_ => 1 } split /,/, $addresses;
my $token = join '|', map { quotemeta } grep { /^[0-9a-f]{32}\z/ } split /,/, $tokens;
my %wire;
for my $name (split /,/, $interfaces) {
    open(my $file, '<', "/sys/class/net/$name/ifindex") or next;
    $wire{int readline $file} = $name;
}
%wire or die "there is none of the interfaces $interfaces\n";

# Only sockets for all protocols see what goes out. What is the mesh's own, or ssh's, is left to the kernel: it is the most by far.
socket(my $all, $PF_PACKET, SOCK_DGRAM, unpack('S', pack('n', $ETH_P_ALL))) or die "packet socket: $!\n";
my @program = (
    pack('SCCL', 0x20, 0, 0, $PROTOCOL),
    pack('SCCL', 0x15, 0, 12, 0x0800),
    pack('SCCL', 0x30, 0, 0, 9),         # the protocol of IP
    pack('SCCL', 0x15, 0, 4, 17),
    pack('SCCL', 0xb1, 0, 0, 0),         # X = length of the IP header
    pack('SCCL', 0x48, 0, 0, 2),         # the port it goes to
    pack('SCCL', 0x15, 7, 0, $mesh),
    pack('SCCL', 0x05, 0, 0, 7),
    pack('SCCL', 0x15, 0, 6, 6),
    pack('SCCL', 0xb1, 0, 0, 0),
    pack('SCCL', 0x48, 0, 0, 2),
    pack('SCCL', 0x15, 2, 0, 22),
    pack('SCCL', 0x48, 0, 0, 0),         # the port it comes from
    pack('SCCL', 0x15, 0, 1, 22),
    pack('SCCL', 0x06, 0, 0, 0),         # no
    pack('SCCL', 0x06, 0, 0, 2048),      # yes: all that a packet of a token is long
);
setsockopt($all, SOL_SOCKET, $SO_ATTACH_FILTER, pack('S x![P] P', scalar @program, join '', @program)) or die "filter: $!\n";
setsockopt($all, SOL_SOCKET, $SO_RCVBUFFORCE, $ROOM);
fcntl($all, F_SETFL, fcntl($all, F_GETFL, 0) | O_NONBLOCK);

my %seen;
sub drain {
    my $packet;
    while (defined(my $from = recv($all, $packet, 2048, 0))) {
        next if length $packet < 28 || !$wire{unpack 'x4 l', $from};
        my ($source, $target) = map { inet_ntoa(substr $packet, $_, 4) } 12, 16;
        my $way = "$source>$target";
        $seen{"token $way"}++ if length $token && $packet =~ /$token/o;
        next unless $host{$source} && $host{$target};
        my $protocol = {6 => 'tcp', 17 => 'udp'}->{ord substr $packet, 9, 1} or next;
        for (unpack 'nn', substr $packet, (ord($packet) & 0xf) * 4, 4) {
            if ($port{"$protocol/$_"}) { $seen{"$protocol/$_ $way"}++; last }
        }
    }
}
print "ready\n";
while (1) {
    my $ready = '';
    vec($ready, fileno($_), 1) = 1 for \*STDIN, $all;
    select($ready, undef, undef, undef);
    drain();
    last if vec($ready, fileno(STDIN), 1);
}
drain();
print "seen $_ $seen{$_}\n" for sort keys %seen;
print "end\n";
