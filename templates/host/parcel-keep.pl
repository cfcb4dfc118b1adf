# Keeps a file for the other hosts of the cluster, for as long as its standard input is open: the run's own machine sends it once.
# Arguments: ADDRESS to listen on, BYTES of the file.
# On standard input: "TOKEN\n", then the file. On standard output: "PORT\n" when the file is whole and can be fetched.
# Who connects gets the file after saying the token. Nothing is left behind: the file has no name.
use strict;
use warnings;
use IO::Select;
use IO::Socket::INET;
use POSIX ':sys_wait_h';

# How long one that connected may take to say the token, and for all of it, in seconds.
my ($token_patience, $patience) = (10, 600);
# How many may be connected at a time: more than any cluster has hosts, and few enough for any host's memory.
my $most = 200;
my $chunk = 1 << 16;
my ($address, $bytes) = @ARGV;
$ENV{TMPDIR} = '/var/tmp';
my $connected = 0;
$SIG{CHLD} = sub { local ($!, $?); $connected-- while waitpid(-1, WNOHANG) > 0 };
$SIG{PIPE} = 'IGNORE';
$| = 1;
binmode STDIN;

open my $file, '+>', undef or die "no temporary file: $!\n";
binmode $file;
my ($token, $buffer) = ('', '');
while ($token eq '') {
    sysread STDIN, $buffer, $chunk, length $buffer or exit 1;
    $token = $1 if $buffer =~ s/^([0-9a-f]+)\n//;
}
my $have = 0;
while (1) {
    for (my $at = 0; $at < length $buffer;) { $at += syswrite($file, $buffer, $chunk, $at) // die "cannot keep the file: $!\n" }
    $have += length $buffer;
    last if $have >= $bytes;
    sysread STDIN, $buffer, $chunk or exit 1;
}

my $listener = IO::Socket::INET->new(LocalAddr => $address, Listen => 64, Proto => 'tcp') or die "cannot listen on $address: $@\n";
print $listener->sockport, "\n";
my $select = IO::Select->new($listener, \*STDIN);
while (1) {
    for my $ready ($select->can_read) {
        exit 0 if $ready == \*STDIN && !sysread STDIN, $buffer, $chunk;
        next if $ready != $listener;
        my $peer = $listener->accept or next;
        next if $connected >= $most;
        $connected++;
        next if fork // die "cannot fork: $!\n";
        $SIG{CHLD} = 'DEFAULT';
        alarm $token_patience;
        my $said = '';
        while ($said !~ /\n/ && length $said <= length $token) { sysread $peer, $said, $chunk, length $said or exit 1 }
        exit 1 if $said ne "$token\n";
        alarm $patience;
        # Opened anew: a position of its own in the file.
        open my $own, '<', '/proc/self/fd/' . fileno $file or exit 1;
        binmode $own;
        while (sysread $own, $buffer, $chunk) {
            for (my $at = 0; $at < length $buffer;) { $at += syswrite($peer, $buffer, length($buffer) - $at, $at) // exit 1 }
        }
        exit 0;
    }
}
