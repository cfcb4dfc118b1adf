# Whether a forged packet gets into the network. This host sends to another what somebody could send who takes no part in it: VXLAN with the
# network's own number, from an address that is nobody's (192.0.2.0/24 is for documents), with a frame to the probe in it that nothing answers.
# And it looks what comes of those that are sent to itself: whether they arrive, and whether the probe sees what is in them.
# Leaves nothing. Needs nothing but Perl's own Socket, nsenter and ip.
# Arguments: LIFETIME TOKEN NETWORK PROBE
# Says `vni NUMBER PORT` and `ready`. Then, for a line `forge ADDRESS MAC NUMBER PORT`, sends and says `sent`; for any other line, or at the
# end of its input, says `arrived COUNT`, `inside COUNT` and `end`.
use strict;
use Socket qw(inet_aton pack_sockaddr_in SOL_SOCKET SOCK_DGRAM SOCK_RAW PF_INET);

# From linux/if_packet.h, linux/if_ether.h (0x88b5 is for experiments), asm-generic/socket.h, linux/filter.h, linux/in.h.
my ($PF_PACKET, $ETH_P_IP, $FRAME, $SO_ATTACH_FILTER, $IPPROTO_RAW) = (17, 0x0800, 0x88b5, 26, 255);
# Packets may get lost on the way, and one is enough.
my $REPEATS = 3;
# How long is waited for what was sent to arrive, and then to get from the host's interface to the probe, in seconds. Either takes less than
# a millisecond, on a busy host some hundred.
my ($ARRIVES, $GETS_IN) = (2, 0.5);
my $NOBODY = '192.0.2.213';

my ($lifetime, $token, $network, $probe) = @ARGV;
alarm $lifetime;
$| = 1;

my $about = '{{.State.Pid}}{{range $name, $it := .NetworkSettings.Networks}} {{$name}}={{$it.NetworkID}}{{end}}';
open(my $told, '-|', 'docker', 'inspect', '--format', $about, $probe) or die "docker: $!\n";
my ($pid, @networks) = split ' ', join '', <$told>;
die "the probe does not run\n" unless ($pid // 0) > 0;
my ($id) = map { /^\Q$network\E=([0-9a-z]{10})/ ? $1 : () } @networks;
die "the probe is not on the network\n" unless defined $id;

# The engine names the namespace of a network after it.
for my $space (glob "/var/run/docker/netns/*-$id") {
    open(my $links, '-|', 'nsenter', "--net=$space", 'ip', '-d', '-o', 'link', 'show', 'type', 'vxlan') or die "nsenter: $!\n";
    for (<$links>) { print "vni $1 $2\n" if /vxlan .*?\bid (\d+) .*?\bdstport (\d+)/ }
}

# What comes to this host is seen before any rule is asked.
socket(my $wire, $PF_PACKET, SOCK_DGRAM, unpack('S', pack('n', $ETH_P_IP))) or die "packet socket: $!\n";
my @program = (
    pack('SCCL', 0x20, 0, 0, 12),                                # where it says that it comes from
    pack('SCCL', 0x15, 0, 1, unpack('N', inet_aton($NOBODY))),
    pack('SCCL', 0x06, 0, 0, 512),                               # yes
    pack('SCCL', 0x06, 0, 0, 0),                                 # no
);
my $code = join '', @program;
setsockopt($wire, SOL_SOCKET, $SO_ATTACH_FILTER, pack('S x![P] P', scalar @program, $code)) or die "filter: $!\n";

# A process in the probe's namespace says a line for each frame that is seen there.
my $look = 'use Socket; $| = 1; alarm shift; my $token = shift;
    socket(my $in, 17, SOCK_DGRAM, unpack("S", pack("n", 0x88b5))) or die; print "looks\n";
    while (defined recv($in, my $frame, 256, 0)) { print "seen\n" if index($frame, $token) >= 0 }';
my $looks = open(my $inside, '-|', 'nsenter', "--net=/proc/$pid/ns/net", 'perl', '-e', $look, $lifetime, $token);
die "nsenter: $!\n" unless $looks;
die "what the probe sees cannot be looked at\n" unless (<$inside> // '') eq "looks\n";

my ($arrived, $seen) = (0, 0);
# Takes what is there, and waits for it at most so long; returns what is left of that.
sub drain {
    my ($patience) = @_;
    my $ready = '';
    vec($ready, fileno($_), 1) = 1 for $wire, $inside;
    my ($found, $left) = select($ready, undef, undef, $patience);
    return 0 unless $found > 0;
    if (vec($ready, fileno($wire), 1)) {
        recv($wire, my $packet, 512, 0);
        $arrived++ if index($packet // '', $token) >= 0;
    }
    if (vec($ready, fileno($inside), 1)) { sysread($inside, my $lines, 4096) or return 0; $seen += () = $lines =~ /seen/g }
    return $left;
}

sub forge {
    my ($to, $mac, $vni, $port) = @_;
    my $frame = pack('H12 H12 n a*', $mac =~ s/://gr, '02dc' . substr(unpack('H*', $token), 0, 8), $FRAME, $token);
    my $vxlan = pack('N N', 0x08000000, $vni << 8) . $frame;
    my $udp = pack('n4', $port, $port, 8 + length $vxlan, 0) . $vxlan;
    my $ip = pack('C2 n3 C2 n a4 a4', 0x45, 0, 20 + length $udp, 0, 0, 64, 17, 0, inet_aton($NOBODY), inet_aton($to));
    socket(my $raw, PF_INET, SOCK_RAW, $IPPROTO_RAW) or die "raw socket: $!\n";
    send($raw, $ip . $udp, 0, pack_sockaddr_in(0, inet_aton($to))) for 1 .. $REPEATS;
}

print "ready\n";
while (defined(my $line = <STDIN>)) {
    my ($order, @words) = split ' ', $line;
    last unless $order eq 'forge' && @words == 4;
    forge(@words);
    print "sent\n";
}
my $left = $ARRIVES;
$left = drain($left) while $left > 0 && !$arrived && !$seen;
$left = $GETS_IN;
$left = drain($left) while $left > 0 && $arrived && !$seen;
print "arrived $arrived\ninside $seen\nend\n";
kill TERM => $looks;
