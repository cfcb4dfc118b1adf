# Measures TCP between two hosts, over the fabric and over the bare underlay by the same program. Needs only perl-base.
#   serve NAME ADDRESS             prints `port NAME NUMBER`, serves until standard input ends
#   ask NAME ADDRESS PORT          prints `NAME p50_us p99_us requests_per_second bits_per_second bits_per_second_of_eight
#                                 cpu_seconds_per_gigabyte`, or `NAME failed WORDS`
# Protocol: a connection begins with E (every message of $MESSAGE bytes is sent back) or S (bytes are counted until the end, then the
# count is sent).
use strict;
use warnings;
use Socket qw(:DEFAULT IPPROTO_TCP TCP_NODELAY SHUT_WR);
use IO::Handle;

# A request and an answer as small as those of a chatty service, each in one packet.
my $MESSAGE = 128;
# Seconds of one after the other, of many at once, and of bulk: short, because other traffic shares the wire.
my ($ONE, $MANY, $BULK) = (0.3, 0.3, 0.5);
# Connections at once, for requests a second: enough to keep two cores busy. And for bulk, as iperf3 -P 8.
my ($CONNECTIONS, $STREAMS) = (16, 8);
# Seconds until a connection counts as blocked.
my $PATIENCE = 5;
# Seconds that a server and a question live at most, whatever becomes of the one who started them.
my ($SERVER_LIFETIME, $CLIENT_LIFETIME) = (3600, 30);
$| = 1;
$SIG{PIPE} = 'IGNORE';

# Perl's own clock has seconds; Time::HiRes is not in perl-base. Numbers of clock_gettime: the kernel's tables of system calls.
my %CLOCK_GETTIME = (x86_64 => 228, aarch64 => 113, riscv64 => 113, loongarch64 => 113, ppc64le => 246, s390x => 260, i686 => 265, armv7l => 263, armv6l => 263);
chomp(my $machine = `uname -m`);
my $number = $CLOCK_GETTIME{$machine} or die "no clock known for $machine\n";
sub now { my $time = "\0" x 16; syscall $number, 1, $time; my ($s, $ns) = unpack 'l! l!', $time; $s + $ns / 1e9 }

my ($mode, $name, $address, $port) = @ARGV;

sub whole {
    my ($socket, $length) = @_;
    my $text = '';
    while (length $text < $length) { sysread($socket, $text, $length - length $text, length $text) or return }
    return $text;
}

if ($mode eq 'serve') {
    alarm $SERVER_LIFETIME;
    $SIG{CHLD} = 'IGNORE';
    setpgrp;
    socket(my $listener, PF_INET, SOCK_STREAM, 6) or die "socket: $!\n";
    bind($listener, pack_sockaddr_in(0, inet_aton($address))) or die "bind: $!\n";
    listen($listener, 64) or die "listen: $!\n";
    my ($bound) = unpack_sockaddr_in(getsockname $listener);
    print "port $name $bound\n";
    while (1) {
        my $ready = '';
        vec($ready, fileno $_, 1) = 1 for \*STDIN, $listener;
        select($ready, undef, undef, undef);
        last if vec($ready, fileno STDIN, 1) && !sysread STDIN, my $nothing, 1;
        next unless vec($ready, fileno $listener, 1);
        accept(my $socket, $listener) or next;
        my $child = fork;
        next if !defined $child || $child;
        setsockopt($socket, IPPROTO_TCP, TCP_NODELAY, 1);
        my $kind = whole($socket, 1) // exit;
        if ($kind eq 'E') {
            while (defined(my $message = whole($socket, $MESSAGE))) { syswrite $socket, $message }
        } else {
            my ($count, $buffer) = (0, '');
            while (my $got = sysread $socket, $buffer, 1 << 17) { $count += $got }
            syswrite $socket, pack 'Q>', $count;
        }
        exit;
    }
    kill 'TERM', -$$;
    exit;
}

alarm $CLIENT_LIFETIME;
sub fail { my ($words) = @_; $words =~ s/\s+/ /g; print "$name failed $words\n"; exit }
sub dial {
    my ($kind) = @_;
    socket(my $socket, PF_INET, SOCK_STREAM, 6) or fail("socket: $!");
    local $SIG{ALRM} = sub { fail("TCP $port of $address does not answer: a firewall?") };
    alarm $PATIENCE;
    connect($socket, pack_sockaddr_in($port, inet_aton($address))) or fail("TCP $port of $address: $!");
    alarm $CLIENT_LIFETIME;
    setsockopt($socket, IPPROTO_TCP, TCP_NODELAY, 1);
    syswrite $socket, $kind;
    return $socket;
}
my $message = 'x' x $MESSAGE;

my $one = dial('E');
my (@times, $end);
for (1 .. 20) { syswrite $one, $message; whole($one, $MESSAGE) // fail('the connection broke') }
for ($end = now() + $ONE; now() < $end;) {
    my $begin = now();
    syswrite $one, $message;
    whole($one, $MESSAGE) // fail('the connection broke');
    push @times, now() - $begin;
}
close $one;
@times = sort { $a <=> $b } @times;
my ($p50, $p99) = map { $times[int($_ * $#times)] * 1e6 } 0.5, 0.99;

my @many = map { dial('E') } 1 .. $CONNECTIONS;
my ($answers, $all) = (0, '');
vec($all, fileno $_, 1) = 1 for @many;
my $begin = now();
syswrite $_, $message for @many;
while (now() - $begin < $MANY) {
    select(my $ready = $all, undef, undef, $MANY);
    for my $socket (grep { vec $ready, fileno $_, 1 } @many) {
        whole($socket, $MESSAGE) // fail('the connection broke');
        $answers++;
        syswrite $socket, $message;
    }
}
my $rate = $answers / (now() - $begin);
close $_ for @many;

# Seconds that the processors of this machine have worked since its boot, without waiting for disks. The kernel counts ticks of 10 ms
# (USER_HZ, proc_stat(5)).
sub busy {
    open my $stat, '<', '/proc/stat' or fail("/proc/stat: $!");
    my ($user, $nice, $system, $idle, $iowait, $irq, $softirq) = (split ' ', <$stat>)[1 .. 7];
    return ($user + $nice + $system + $irq + $softirq) / 100;
}

my $block = 'x' x (1 << 17);
# Sends all it can, and returns how many bytes arrived in how many seconds.
sub bulk {
    my $socket = dial('S');
    my $begin = now();
    while (now() - $begin < $BULK) { syswrite($socket, $block) // fail("write: $!") }
    shutdown $socket, SHUT_WR;
    my $count = unpack 'Q>', whole($socket, 8) // fail('the connection broke');
    return ($count, now() - $begin);
}

my $before = busy();
my ($count, $seconds) = bulk();
my $cost = (busy() - $before) / ($count / 1e9);
my $single = 8 * $count / $seconds;

my @streams = map {
    pipe(my $reader, my $writer) or fail("pipe: $!");
    my $child = fork // fail("fork: $!");
    if (!$child) {
        close $reader;
        # Its words are the parent's to say.
        open STDOUT, '>', '/dev/null';
        alarm $CLIENT_LIFETIME;
        my ($bytes, $time) = bulk();
        syswrite $writer, 8 * $bytes / $time;
        exit;
    }
    close $writer;
    $reader;
} 1 .. $STREAMS;
my $together = 0;
for my $stream (@streams) {
    my $rate = readline $stream;
    $together += $rate // fail("one of $STREAMS connections at once broke");
}
printf "%s %.1f %.1f %.1f %.0f %.0f %.3f\n", $name, $p50, $p99, $rate, $single, $together, $cost;
