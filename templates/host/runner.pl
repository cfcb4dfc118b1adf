# Runs the commands of one run on this host, one after the other, over one SSH session: each costs one round trip instead of the
# opening of a session, a login shell and sudo.
# Argument: MOST bytes that are kept of each output stream.
# On standard input, again and again: "ARGV_BYTES STDIN_BYTES\n", the arguments, separated by NUL, and the bytes for standard input.
# On standard output: "ready\n" once, then for each command "STATUS STDOUT_BYTES STDERR_BYTES\n" and both. The status is 128 and the signal
# for a command that was killed, as ssh has it.
# Ends when its standard input ends; a command that runs then is not stopped, as with ssh.
use strict;
use warnings;
use IO::Select;
use IO::Handle;

my ($most) = @ARGV;
my $buffer = '';
my $chunk = 1 << 16;
$SIG{PIPE} = 'IGNORE';
binmode STDIN;
binmode STDOUT;

sub more {
    my $read = sysread STDIN, $buffer, $chunk, length $buffer;
    exit 0 unless $read;
}
sub line {
    more() while index($buffer, "\n") < 0;
    return substr $buffer, 0, index($buffer, "\n") + 1, '';
}
sub take {
    my ($count) = @_;
    more() while length $buffer < $count;
    return substr $buffer, 0, $count, '';
}
sub say_all {
    my ($text) = @_;
    while (length $text) {
        my $wrote = syswrite STDOUT, $text, $chunk;
        exit 0 unless $wrote;
        substr $text, 0, $wrote, '';
    }
}

say_all("ready\n");
while (1) {
    my ($argv_bytes, $stdin_bytes) = line() =~ /^(\d+) (\d+)$/ or exit 1;
    my @argv = split /\0/, take($argv_bytes), -1;
    my $feed = take($stdin_bytes);
    pipe my $in, my $to_in or exit 1;
    pipe my $from_out, my $out or exit 1;
    pipe my $from_err, my $err or exit 1;
    my $child = fork // exit 1;
    if (!$child) {
        # What is ignored stays ignored in what is run.
        $SIG{PIPE} = 'DEFAULT';
        open STDIN, '<&', $in or exit 126;
        open STDOUT, '>&', $out or exit 126;
        open STDERR, '>&', $err or exit 126;
        no warnings 'exec';
        exec { $argv[0] } @argv or do { print STDERR "$argv[0]: $!\n"; STDERR->flush; require POSIX; POSIX::_exit(127) };
    }
    close $_ for $in, $out, $err;
    my %kept = ($from_out => '', $from_err => '');
    my ($readers, $writers) = (IO::Select->new($from_out, $from_err), IO::Select->new);
    if (length $feed) { $to_in->blocking(0); $writers->add($to_in) } else { close $to_in }
    while ($readers->count) {
        my ($can_read, $can_write) = IO::Select::select($readers, $writers, undef);
        for my $handle (@{$can_write // []}) {
            my $wrote = syswrite $handle, $feed, $chunk;
            substr $feed, 0, $wrote, '' if $wrote;
            # Written, or not wanted: a command may end without reading all of it.
            if (!length $feed || (!$wrote && !$!{EAGAIN})) { $writers->remove($handle); close $handle }
        }
        for my $handle (@{$can_read // []}) {
            my $read = sysread $handle, $kept{$handle}, $chunk, length $kept{$handle};
            # One that never stops talking loses its listener.
            if (!$read || length $kept{$handle} > $most) { $readers->remove($handle); close $handle }
        }
    }
    close $to_in if defined fileno $to_in;
    waitpid $child, 0;
    my $status = $? & 127 ? 128 + ($? & 127) : $? >> 8;
    say_all(sprintf("%d %d %d\n", $status, length $kept{$from_out}, length $kept{$from_err}) . $kept{$from_out} . $kept{$from_err});
}
