# Asks the engine of this host, one question after the other, over its own socket. Docker's client takes ten times as long to start as most
# answers take, and Perl a tenth of that, as long as it loads no module: Socket alone costs as much as all the rest.
# Argument: MOST bytes that are kept of an answer.
# On standard input, again and again: "METHOD PATH SECONDS BODY_BYTES\n" and the body, in JSON. {Id} in a path is the id that the last answer
# with one has told, and {Now+SECONDS} in a body a time by this host's clock. Two methods are for what belongs to an answer and the engine
# does not know: FILE, a file of this host, and TIMES, "NOW\n" and then "SECONDS OFFSET ZONE\n" for each container of the answer before, the
# time at which it was made as this host's clocks show it.
# On standard output, for each: "STATUS BYTES\n" and the answer, which is a stream to its end where the engine gives one. The first that is none
# of 2xx is the last; 0, with words, is an engine that does not answer in time, or not to the end.
# Exit status 75: the engine cannot be asked in this way, and has not been asked anything.
use strict;
my ($most) = @ARGV;
$ENV{LC_ALL} = 'C';
# One that hangs up before it has read is one that does not answer.
$SIG{PIPE} = 'IGNORE';

sub slurp {
    my ($path) = @_;
    open(my $file, '<', $path) or return;
    my $text = '';
    1 while sysread($file, $text, 16384, length $text) && length $text <= $most;
    return $text;
}
# AF_UNIX is 1 on every Linux; SOCK_STREAM is 1 except on MIPS, where it is 2 and 1 is refused here.
sub dial {
    for my $stream (1, 2) { return $_ for grep { socket($_, 1, $stream, 0) && connect($_, pack('S a*', 1, "/var/run/docker.sock\0")) } my $socket }
    return;
}
# A connection to an engine that is stopped would start it (docker.socket): that is for others to decide.
my ($pid) = (slurp('/var/run/docker.pid') // '') =~ /^(\d+)/;
exit 75 unless $pid && -d "/proc/$pid";
my $socket = dial() or exit 75;

# HTTP/1.0, so that the answer ends with the connection.
sub ask {
    my ($method, $path, $seconds, $body) = @_;
    my $text = '';
    eval {
        local $SIG{ALRM} = sub { die };
        alarm $seconds;
        $socket //= dial() // die;
        my $request = "$method $path HTTP/1.0\r\nHost: docker\r\nContent-Type: application/json\r\nContent-Length: " . length($body) . "\r\n\r\n$body";
        while (length $request) { substr($request, 0, syswrite($socket, $request) || die, '') }
        1 while sysread($socket, $text, 65536, length $text) && length $text <= $most;
        alarm 0;
    };
    alarm 0;
    undef $socket;
    return (0, 'it does not answer') if $@ || $text !~ s/\AHTTP\/1\.[01] (\d{3}) (.*?)\r\n\r\n//s;
    my ($status, $head) = ($1, $2);
    return (0, 'it ended in the middle of its answer') if $head =~ /^Content-Length: (\d+)/mi && length $text < $1;
    return (0, 'its answer is too long') if length $text > $most;
    return ($status, $text);
}
# As Docker's client writes them. What the zone is called is the C library's to know, which Perl asks by a module that is as large as Perl;
# not for the one zone that needs no telling.
sub times_of {
    my ($answer) = @_;
    my $zone = readlink '/etc/localtime';
    my $is_utc = !-e '/etc/localtime' || defined $zone && $zone =~ m{/UTC\z};
    require POSIX if !$is_utc;
    my %made = map { ($_, 1) } $answer =~ /"Created":(\d+)/g;
    return join '', time . "\n", map { "$_ " . ($is_utc ? '+0000 UTC' : POSIX::strftime('%z %Z', localtime $_)) . "\n" } sort keys %made;
}

my $all = do { local $/; <STDIN> };
my ($id, $last) = ('', '');
while ($all =~ s/\A(\S+) (\S+) (\d+) (\d+)\n//) {
    my ($method, $path, $seconds, $body) = ($1, $2, $3, substr $all, 0, $4, '');
    $path =~ s/\{Id\}/$id/;
    $body =~ s/\{Now\+(\d+)\}/time + $1/eg;
    my ($status, $answer) = $method eq 'FILE' ? (200, slurp($path) // '')
        : $method eq 'TIMES' ? (200, times_of($last))
        : ask($method, $path, $seconds, $body);
    print "$status ", length $answer, "\n", $answer;
    last if $status !~ /^2/;
    $id = $1 if $answer =~ /\A\{"Id":"(\w+)"/;
    $last = $answer;
}
