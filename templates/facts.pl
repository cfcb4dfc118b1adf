# The other half of facts.sh: reads what the shell asks for on standard input, and writes the sections. It only reads.
# Arguments: MARK MAX. A line MARK?ENGINE AGENT says what is going to be asked, either of which may be empty; MARK&NAME COMMAND is a command
# that is begun at once and waited for at the end, MARK=NAME opens what a command printed, MARK<NAME PATH is a file, MARK!NAME ARGUMENT is
# one of the functions here. Needs nothing but perl-base. A section that is not whole ends with a line "!", whatever the reason.
use strict;
my ($mark, $max) = @ARGV;
# How long a daemon may take to answer one question, in seconds: one that hangs must not hang the facts of its host.
my $PATIENCE = 10;
# How long the engine is waited for in all, in seconds: half of what the facts of a host may take. One that hangs does so at each question.
my $ENGINE_PATIENCE = 25;
# How much longer a program is waited for than it may live, in seconds: one that does not heed its alarm is killed, with all it has started.
my $GRACE = 3;
# How many containers are looked at, each a question of a millisecond, and how many the engine is asked about at a time: enough that it
# never waits for the next question.
my ($MANY, $AT_A_TIME) = (5000, 8);
# A list of the engine's may be so many times longer than other sections: a container is a kilobyte or two, with labels of Compose.
my $ROOMY = 8;
$| = 0;
$ENV{LC_ALL} = 'C';
# Whether the section that is being written lacks something.
my $lacks = 0;
# A daemon that hangs up before it is asked is one that does not answer. Not ignored: that is what programs started here would inherit.
$SIG{PIPE} = sub { };

# A file, cut at the most that a section may have. By pieces: Perl makes room for all that it is told to read, a megabyte for a line.
sub slurp {
    my ($path) = @_;
    open(my $file, '<', $path) or return;
    my $text = '';
    1 while sysread($file, $text, 16384, length $text) && length $text <= $max;
    return $text;
}
# Starts a program that is given something to read, which must fit into a pipe; `printed` waits for what it prints. A program that is
# bounded ends by an alarm of its own, which outlives what starts it, and costs nothing where `timeout` is a process more.
our $bound = 0;
sub start {
    my ($input, @command) = @_;
    pipe(my $read, my $write) or return;
    syswrite $write, $input;
    my $pid = open(my $out, '-|') // return;
    if (!$pid) { setpgrp; alarm $bound; close $write; open(STDERR, '>', '/dev/null'); open(STDIN, '<&', $read); exec {$command[0]} @command or exit 127 }
    return [$pid, $out];
}
sub bounded { local $bound = $PATIENCE; return start(@_) }
sub printed {
    my ($pid, $out) = @{$_[0] // return ''};
    my $text = '';
    eval { local $SIG{ALRM} = sub { die }; alarm $PATIENCE + $GRACE; 1 while sysread($out, $text, 65536, length $text) && length $text <= $max; alarm 0 };
    if ($@) { kill 'KILL', -$pid; $lacks = 1 }
    close $out;
    return $text;
}
sub run { return printed(start('', @_)) }

# JSON, as far as it is needed without a module: a value as it is written, and the members of an object or an array.
my $VALUE = qr/(?<v>"(?:[^"\\]++|\\.)*+"|\{(?:[^{}"]++|"(?:[^"\\]++|\\.)*+"|(?&b))*+\}|\[(?:[^\[\]"]++|"(?:[^"\\]++|\\.)*+"|(?&a))*+\]|[^\s,\[\]{}"]++)(?(DEFINE)(?<b>\{(?:[^{}"]++|"(?:[^"\\]++|\\.)*+"|(?&b))*+\})(?<a>\[(?:[^\[\]"]++|"(?:[^"\\]++|\\.)*+"|(?&a))*+\]))/;
# Perl ends the repetitions of a group at 65534 rounds, without a word. A text that is shorter has fewer; of a longer one the value at its
# place is taken by pieces.
my $SHORT = 60000;
sub value {
    my ($text) = @_;
    if (length $$text <= $SHORT) { return $$text =~ /\G$VALUE/gc ? $+{v} : undef }
    my ($begin, $depth) = (pos($$text) // 0, 0);
    while (1) {
        if ($$text =~ /\G"/gc) { 1 while $$text =~ /\G(?:[^"\\]++|\\.)/gcs; $$text =~ /\G"/gc or return }
        elsif ($$text =~ /\G[\{\[]/gc) { $depth++ }
        elsif ($depth && $$text =~ /\G[\}\]]/gc) { $depth-- }
        elsif ($$text =~ /\G[^\s,:\[\]{}"]++/gc) { }
        elsif (!($depth && $$text =~ /\G[\s,:]++/gc)) { return }
        else { next }
        return substr($$text, $begin, pos($$text) - $begin) if !$depth;
    }
}
# What does not end as it should was cut: the section that is being written lacks something.
sub members {
    my %all;
    my $text = shift // '';
    return {} if $text =~ /\A\s*(?:null)?\s*\z/;
    if ($text =~ /\G\s*\{/gc) { while ($text =~ /\G\s*,?\s*"((?:[^"\\]++|\\.)*+)"\s*:\s*/gc) { my $key = $1; my $value = value(\$text) // last; $all{$key} = $value } }
    $lacks = 1 if $text !~ /\G\s*\}\s*\z/gc;
    return \%all;
}
sub elements {
    my @all;
    my $text = shift // '';
    return if $text =~ /\A\s*(?:null)?\s*\z/;
    if ($text =~ /\G\s*\[/gc) { while ($text !~ /\G\s*\]/gc) { $text =~ /\G[\s,]*/gc; push @all, value(\$text) // last } }
    $lacks = 1 if $text !~ /\]\s*\z/ || (pos($text) // 0) < length($text) - 2;
    return @all;
}
sub word { my $text = shift // ''; return $text =~ /^"([^"\\]*)"$/ ? $1 : '' }

# A stream to a socket. Without the module Socket, whose start costs as much as all of Perl's own: AF_UNIX is 1 on every Linux, and
# SOCK_STREAM is 1 except on MIPS, where it is 2 and 1 is refused here.
sub dial {
    my ($path) = @_;
    for my $stream (1, 2) { return $_ for grep { socket($_, 1, $stream, 0) && connect($_, pack('S a*', 1, "$path\0")) } my $socket }
    return;
}

# The process of the engine that this host's socket belongs to, 0 if none runs. The socket itself is not asked: a connection would
# start an engine that is stopped (docker.socket), and facts only read.
my $engine_pid;
sub is_engine {
    my ($pid) = @_;
    return if (slurp("/proc/$pid/comm") // '') !~ /^dockerd/;
    # One that is asked for its version, as another look at this host does, is none. The name is read before the words: what is about to
    # become that program has the words of what started it; and while it begins and when it has ended it has none.
    my $words = slurp("/proc/$pid/cmdline") // '';
    return if !length $words || $words =~ /\0(?:--version|-v|--validate|--help)\0/;
    # One in a container is another host's engine, and one of a user (rootless) has another socket.
    return !((stat "/proc/$pid")[4] // 1) && (readlink("/proc/$pid/ns/pid") // '') eq (readlink('/proc/self/ns/pid') // '');
}
sub engine_pid {
    return $engine_pid if defined $engine_pid;
    my ($pid) = (slurp('/var/run/docker.pid') // '') =~ /^(\d+)/;
    return $engine_pid = $pid if $pid && is_engine($pid);
    # Its file is elsewhere, or it is none of Docker's packages': the one that has the socket open.
    my ($inode) = (slurp('/proc/net/unix') // '') =~ m{^\S+ \S+ \S+ 00010000 \S+ \S+ +(\d+) (?:/var)?/run/docker\.sock$}m;
    for my $pid (grep { /^\d+\z/ } map { s{.*/}{}r } in_folder('/proc')) {
        next if !is_engine($pid);
        next if defined $inode && !grep { (readlink($_) // '') eq "socket:[$inode]" } in_folder("/proc/$pid/fd");
        return $engine_pid = $pid;
    }
    return $engine_pid = 0;
}
# Whether asking the engine wakes nobody.
sub awake { return engine_pid() || (unit('docker.service')->{ActiveState} // '') eq 'active' }

my $info;
# A question to the engine, on its way to be answered. HTTP/1.0, so that the body ends with the connection.
my %asked;
# How long the engine has been waited for, in seconds; whether it left a question without a whole answer, which holds for all that
# follow; and the status of the last answer, 0 if there is none.
my ($waited, $late, $status) = (0, 0, 0);
sub ask {
    my ($path) = @_;
    return if !awake();
    if ($waited >= $ENGINE_PATIENCE) { $late = 1; return }
    eval {
        local $SIG{ALRM} = sub { $late = 1; $waited = $ENGINE_PATIENCE; die };
        alarm $PATIENCE;
        my $socket = dial('/var/run/docker.sock') or die;
        syswrite($socket, "GET $path HTTP/1.0\r\nHost: docker\r\n\r\n");
        $asked{$path} = $socket;
        alarm 0;
    };
    alarm 0;
    return $asked{$path};
}
# Its answer; nothing if the engine does not answer with 200, or not in time, or not to the end.
sub engine {
    my ($path, $limit) = @_;
    my ($text, $cut) = ('', 0);
    $limit //= $max;
    $status = 0;
    my $socket = delete $asked{$path} // ask($path) // return;
    delete $asked{$path};
    my $began = time;
    # What has been answered by now is read in any case; without its store's leader an engine takes seven seconds for its networks, or more.
    my $left = $path eq '/info' ? $PATIENCE : $ENGINE_PATIENCE - $waited;
    eval {
        local $SIG{ALRM} = sub { $late = $cut = 1; die };
        alarm($left < 1 ? 1 : $left);
        1 while sysread($socket, $text, 65536, length $text) && length $text < $limit;
        alarm 0;
    };
    alarm 0;
    $waited += time - $began;
    return if $cut || length $text >= $limit;
    $text =~ s/\AHTTP\/1\.[01] (\d{3}) (.*?)\r\n\r\n//s or return;
    $status = $1;
    # An engine that ends in the middle of its answer ends the connection as well.
    if ($2 =~ /^Content-Length: (\d+)/mi && length $text < $1) { $status = 0 }
    return if $status ne '200';
    $text =~ tr/\r\n//d;
    return $text;
}
# The answer with a list in it. One that is refused or cut is not a list without members.
sub list {
    # A stopped engine is not asked, and has nothing to tell.
    return if !awake();
    my $text = engine($_[0], $ROOMY * $max);
    $lacks = 1 if !defined $text;
    return elements($text);
}

# A list of the engine's; its section says if it may not be all.
sub whole { $lacks = 1 if $late; return join "\n", @_ }

# Whether that process runs the program that is on the disk now: only then what it says of its version is the program's.
sub runs {
    my ($pid, $path) = @_;
    my @there = stat $path;
    my @running = $pid =~ /^[1-9][0-9]*$/ ? stat "/proc/$pid/exe" : ();
    return @there && @running && $there[0] == $running[0] && $there[1] == $running[1];
}

my (%said, %units, @members, %begun);

# What `systemctl show` said of a unit.
sub unit {
    if (!%units) { finish('units'); for my $block (split /\n\n/, $said{units} // '') { my %v = map { /^(\w+)=(.*)$/ ? ($1, $2) : () } split /\n/, $block; $units{$v{Id}} = \%v if $v{Id} } }
    return $units{$_[0]} // {};
}
# A unit's file and its drop-ins in their order, as [FILE, LINE]; without comments, which mean nothing anywhere.
sub unit_lines {
    my $unit = unit($_[0]);
    return map { my $file = $_; map { [$file, $_] } grep { !/^\s*[#;]/ } split /\n/, slurp($file) // '' } grep { length } $$unit{FragmentPath}, split / /, $$unit{DropInPaths} // '';
}
# Where the engine keeps what it has: by its own word, else by its options, else where it always was.
sub data_root {
    my $root = word(members($info)->{DockerRootDir});
    return $root if length $root;
    my ($flag) = map { $$_[1] =~ /--data-root[= ]["']?([^\s"']+)/ ? $1 : () } reverse unit_lines('docker.service');
    return $flag if defined $flag;
    my $file = slurp('/etc/docker/daemon.json') // '';
    return $file =~ /"(?:data-root|graph)"\s*:\s*"([^"\\]+)"/ ? $1 : '/var/lib/docker';
}
sub node_certificate {
    my $root = data_root();
    # With userns-remap it is a folder below, and a stopped engine does not say so.
    my ($path) = grep { -f } map { "$_/swarm/certificates/swarm-node.crt" } $root, grep { m{/\d+\.\d+\z} } in_folder($root);
    return $path;
}

sub consul {
    my ($consul, @words) = @_;
    my $etc = '/etc/docker-cluster/consul';
    local @ENV{qw(CONSUL_HTTP_ADDR CONSUL_CACERT CONSUL_CLIENT_CERT CONSUL_CLIENT_KEY)} = ('https://127.0.0.1:8501', "$etc/ca.pem", "$etc/agent.pem", "$etc/agent-key.pem");
    return printed(bounded('', 'sh', '-c', 'exec "$@" 2>&1', 'consul', $consul, @words));
}

# Two questions to the local agent over one connection, with the same certificates and the same checks as Consul's own client, whose
# start alone costs more. Its words are kept for when something is wrong.
my ($agent, $asking);
sub ask_agent {
    my $etc = '/etc/docker-cluster/consul';
    my $questions = join '', map { "GET $$_[0] HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: $$_[1]\r\n\r\n" } ['/v1/kv/docker/?keys&separator=/', 'keep-alive'], ['/v1/agent/members', 'close'];
    return bounded($questions, 'openssl', 's_client', '-quiet', '-connect', '127.0.0.1:8501', '-CAfile', "$etc/ca.pem", '-cert', "$etc/agent.pem", '-key', "$etc/agent-key.pem", '-verify_return_error', '-verify_ip', '127.0.0.1');
}
sub agent { return $agent //= printed($asking // ask_agent()) }
# Status and body of the next answer in what the agent said; nothing unless it is whole.
sub answer {
    my ($text) = @_;
    $$text =~ s/\AHTTP\/1\.1 (\d{3}) [^\r]*\r\n(.*?)\r\n\r\n//s or return;
    my ($status, $headers) = ($1, $2);
    if ($headers =~ /^Content-Length: (\d+)\r?$/mi) { return length $$text >= $1 ? ($status, substr($$text, 0, $1, '')) : () }
    my $body = '';
    while ($$text =~ s/\A([0-9a-fA-F]{1,6})\r\n//) {
        my $size = hex $1;
        return if length $$text < $size + 2;
        $body .= substr($$text, 0, $size, '');
        $$text =~ s/\A\r\n//;
        return ($status, $body) if !$size;
    }
    return;
}

# What is in a folder, sorted; nothing if it is not there. Not by glob, which is a module of its own.
sub in_folder {
    my ($folder) = @_;
    opendir(my $handle, $folder) or return;
    return map { "$folder/$_" } grep { !/^\.\.?\z/ } sort { $a cmp $b } readdir $handle;
}
sub tree {
    my ($folder, $all) = @_;
    for my $path (in_folder($folder)) {
        if (-l $path) { next } elsif (-d _) { tree($path, $all) } elsif (-f _) { push @$all, $path }
    }
}
my (@ours, $sums);
sub ours {
    if (!@ours) {
        tree($_, \@ours) for '/etc/docker-cluster', '/var/lib/docker-cluster/secrets', '/usr/local/lib/docker-cluster';
        push @ours, grep { m{/docker-cluster-[^/]*\z} && -f } in_folder('/etc/systemd/system');
        push @ours, grep { -f } '/etc/systemd/networkd.conf.d/docker-cluster.conf', '/etc/systemd/system/docker.service.d/zz-docker-cluster.conf';
        # Those of packages, which may become ours.
        push @ours, grep { -f } '/etc/bird/bird.conf', '/etc/network/interfaces', in_folder('/etc/network/interfaces.d');
    }
    return @ours;
}
# Who owns a file. The two files are read first: to ask the system costs as much as Perl's start, for the modules it loads.
my %names;
sub name_of {
    my ($file, $id) = @_;
    $names{$file} //= {map { /^([^:]+):[^:]*:(\d+):/ ? ($2, $1) : () } reverse split /\n/, slurp($file) // ''};
    return $names{$file}{$id} // ($file eq '/etc/passwd' ? getpwuid $id : getgrgid $id) // 'UNKNOWN';
}
sub owner { my @s = @_; return name_of('/etc/passwd', $s[4]) . ':' . name_of('/etc/group', $s[5]) }

# Interfaces, addresses and routes by one `ip`: a line tells by itself which it is.
my (@ip, $ip);
sub ip {
    my ($kind) = @_;
    @ip = split /\n/, printed($ip) if !@ip;
    my %is = (links => qr/^\d+: \S+: </, addresses => qr/^\d+: \S+ +inet6? /, routes => qr/^[^ ]+ .*?dev /);
    return join "\n", grep { /$is{$kind}/ && ($kind ne 'routes' || !/^\d+: /) } @ip;
}

# Listening sockets, as the kernel's table has them. The table is searched to its end for sockets that do not listen, which takes longer
# than all else here, so the kernel is asked for those that do, as `ss` asks it (sock_diag(7)): unless that would load a module.
sub listeners {
    my @found;
    for (['tcp', 2], ['tcp6', 10]) {
        my ($name, $family) = @$_;
        next if !-e "/proc/net/$name";
        push @found, @{-d '/sys/module/tcp_diag' || !-d '/lib/modules' ? diagnosed($family) || [in_table($name)] : [in_table($name)]};
    }
    return join "\n", @found;
}
# AF_NETLINK is 16, SOCK_RAW 3, NETLINK_SOCK_DIAG 4; the question is SOCK_DIAG_BY_FAMILY (20) as a dump (0x301) about TCP (6) in the
# state LISTEN (10).
sub diagnosed {
    my ($family) = @_;
    socket(my $socket, 16, 3, 4) or return;
    my $question = pack('C C C C L x48', $family, 6, 0, 0, 1 << 10);
    syswrite($socket, pack('L S S L L', 16 + length $question, 20, 0x301, 1, 0) . $question) or return;
    my @found;
    while (sysread($socket, my $answer, 1 << 16)) {
        while (length $answer >= 16) {
            my ($size, $type) = unpack 'L S', $answer;
            return if $size < 16 || $size > length $answer;
            my $message = substr $answer, 0, ($size + 3) & ~3, '';
            return \@found if $type == 3;
            return if $type != 20;
            my ($of, $port, $words) = unpack 'x16 C x3 n x2 a16', $message;
            push @found, sprintf '0: %s:%04X - 0A', join('', map { sprintf '%08X', $_ } unpack $of == 2 ? 'L' : 'L4', $words), $port;
        }
    }
    return;
}
# Line by line, about, until one that does not listen (0A): listening ones come first. Kernels before 4.4 give a listener's half-open
# connections (03) right after it.
sub in_table {
    my ($name) = @_;
    open(my $file, '<', "/proc/net/$name") or return;
    my ($size, $line, @found) = (0, '');
    PIECE: while ($size < $max && sysread($file, my $piece, 160)) {
        $size += length $piece;
        $line .= $piece;
        while (1) {
            my ($state) = $line =~ /\A *\d+: \S+ \S+ ([0-9A-F]{2}) /;
            last PIECE if defined $state && $state ne '0A' && $state ne '03';
            $line =~ s/\A(.*)\n// or last;
            push @found, $1 if ($state // '') eq '0A';
        }
    }
    return @found;
}

# Whether the kernel has or can load what overlays need; the function of the same name in facts.sh says it in other words.
my @MODULES = (['vxlan', 'VXLAN'], ['bridge', 'BRIDGE'], ['veth', 'VETH'], ['br_netfilter', 'BRIDGE_NETFILTER'], ['nf_nat', 'NF_NAT'], ['ip_vs', 'IP_VS'], ['macvlan', 'MACVLAN'], ['esp4', 'INET_ESP'], ['openvswitch', 'OPENVSWITCH'], ['wireguard', 'WIREGUARD']);
my $unpacking;
sub modules {
    my $release = slurp('/proc/sys/kernel/osrelease') // '';
    chomp $release;
    my $folder = "/lib/modules/$release";
    my ($config, $builtin, $dep, @all);
    for (@MODULES) {
        my ($module, $option) = @$_;
        if (-d "/sys/module/$module") { push @all, "$module loaded"; next }
        $config //= ($unpacking ? printed($unpacking) : slurp("/boot/config-$release")) // '';
        $builtin //= slurp("$folder/modules.builtin") // '';
        $dep //= slurp("$folder/modules.dep") // '';
        push @all, "$module " . (
            $config =~ /^CONFIG_$option=y$/m || $builtin =~ m{/$module\.ko} ? 'builtin'
            : $dep =~ m{/$module\.ko} || -d $folder && system("modprobe -n -q $module 2>/dev/null") == 0 ? 'available'
            : length $config ? 'missing' : 'unknown');
    }
    return join "\n", @all;
}

# What a program of ours says of this host, and words in its place where it ends with a status above that.
my %looks = ('fabric' => 'check', 'underlay' => 'facts');
my %looking;
sub look { my ($name) = @_; return bounded('', "/usr/local/lib/docker-cluster/$name", $looks{$name}) }
sub looked {
    my ($name, $most, $otherwise) = @_;
    my $text = printed($looking{$name} // look($name));
    return $? >> 8 <= $most && !($? & 127) ? $text : "$text$otherwise\n";
}

my %native = (
    'modules' => \&modules,
    'links' => sub { ip('links') },
    'addresses' => sub { ip('addresses') },
    'routes' => sub { ip('routes') },
    'clock' => sub { time },
    'tcp' => \&listeners,
    'udp' => sub { join '', map { slurp("/proc/net/$_") // '' } qw(udp udp6) },
    'candidates' => sub {
        # Where only the store's program is missing: a member of a swarm needs none.
        return '' if $_[0] eq 'store' && defined node_certificate();
        my @policy = grep { /^[a-z]|Candidate:/ } split /\n/, run(qw(apt-cache policy docker.io docker-cli docker-ce-cli consul));
        # Every version of the engine that there is, for a constraint that the newest does not meet.
        my @versions = map { join '|', (split /\|/)[0, 1] } split /\n/, run(qw(apt-cache madison docker.io docker-cli));
        join "\n", @policy, @versions;
    },
    'daemon-json-mode' => sub { my @s = stat '/etc/docker/daemon.json' or return ''; sprintf '%o %d:%d', $s[2] & 07777, $s[4], $s[5] },
    # The unit's file, then its drop-ins, each line with its file, and the files that they name for the environment.
    'unit-lines' => sub { join "\n", map { join "\t", @$_ } unit_lines('docker.service') },
    'environment-files' => sub {
        my @all = map { $$_[1] =~ /^\s*EnvironmentFile\s*=\s*-?(\S.*?)\s*$/ ? $1 : () } unit_lines('docker.service');
        join "\n", map { my $file = $_; map { "$file\t$_" } split /\n/, slurp($file) // '' } map { /[*?\[]/ ? glob : $_ } @all;
    },
    'engine-process' => sub {
        my $pid = engine_pid() or return '';
        my ($unit) = (slurp("/proc/$pid/cgroup") // '') =~ m{/([^/\n]+\.(?:service|scope))$}m;
        my @args = split /\0/, slurp("/proc/$pid/cmdline") // '';
        join "\n", "pid $pid", 'exe ' . (readlink("/proc/$pid/exe") // ''), 'unit ' . ($unit // ''), map { "arg $_" } map { tr/\n/ /r } @args;
    },
    'engine-key' => sub { join "\n", (slurp('/etc/docker/key.json') // '') =~ /"kid" *: *"([A-Z0-9:]*)"/g },
    # Docker's own client is asked where the engine refused: it knows more ways to one, and its words say what is wrong. An engine that
    # hangs has nothing to tell it, and is not asked anything else.
    'docker-info' => sub {
        $info = engine('/info');
        return $info if defined $info;
        if ($late || !awake()) { $waited = $ENGINE_PATIENCE; return '' }
        return $info = printed(bounded('', qw(docker info --format), '{{json .}}'));
    },
    'containers' => sub {
        my @ids = grep { /^[0-9a-f]+$/ } map { word(members($_)->{Id}) } list('/containers/json?all=1');
        if (@ids > $MANY) { $lacks = 1; $#ids = $MANY - 1 }
        my @all;
        while (my @some = splice @ids, 0, $AT_A_TIME) {
            @some = map { "/containers/$_/json" } @some;
            ask($_) for @some;
            for (@some) {
                my $it = members(engine($_));
                # One that has gone meanwhile is no more; of any other nothing is known.
                if (!%$it) { $lacks = 1 if $status ne '404'; next }
                my ($state, $config, $host, $net) = map { members($$it{$_}) } qw(State Config HostConfig NetworkSettings);
                push @all, join ' ', map { $_ // 'null' } $$it{Name}, $$state{Status}, members($$host{RestartPolicy})->{Name}, $$config{Labels}, $$net{Networks}, $$state{ExitCode};
            }
        }
        whole(@all);
    },
    # In an order of their own: the engine and the store give them in any, and two looks at one host must say the same.
    'networks' => sub { whole(sort { $a cmp $b } list('/networks')) },
    'images' => sub { whole(map { my $it = members($_); my $id = word($$it{Id}); map { word($_) . " $id" } elements($$it{RepoTags}) } list('/images/json')) },
    # Only a manager can tell them, and the others write an error into their log when they are asked; one of a swarm that has a leader
    # has to.
    'nodes' => sub {
        my $swarm = members(members($info)->{Swarm});
        return '' if ($$swarm{ControlAvailable} // '') ne 'true';
        my $nodes = engine('/nodes', $ROOMY * $max);
        $lacks = 1 if !defined $nodes && ($$swarm{Error} // 'null') =~ /\A(?:""|null)\z/;
        whole(sort { $a cmp $b } elements($nodes));
    },
    'swarm-cert' => sub { my $path = node_certificate(); defined $path ? slurp($path) : '' },
    'dockerd-version' => sub {
        my $version = word(members($info)->{ServerVersion});
        $version && runs(engine_pid(), $_[0]) ? "Docker version $version," : run($_[0], '--version');
    },
    'kv-backends' => sub {
        return '' if ($said{'dockerd-version'} // '') !~ / version (1|17|18|19|20)\./;
        my %wanted = map { ($_, 1) } qw(consul etcd zookeeper);
        open(my $file, '<', $_[0]) or return '';
        my ($text, $begins, @found) = ('', 'libkv/store/');
        # Pieces overlap, so that no name is cut in two; most binaries have all three in their first megabytes.
        while (%wanted && sysread($file, $text, 1 << 20, length $text)) {
            for (my $at = -1; ($at = index($text, $begins, $at + 1)) >= 0;) {
                my ($name) = substr($text, $at + length $begins, 9) =~ /^(consul|etcd|zookeeper)/ or next;
                push @found, $name if delete $wanted{$name};
            }
            $text = substr $text, -64 if length $text > 64;
        }
        join "\n", sort @found;
    },
    'store-ready' => sub {
        my $text = agent();
        my ($status, $body) = answer(\$text);
        # Consul's own client knows more ways to say why there is no answer; an answer it only repeats, and the agent takes its time
        # for one without a leader.
        if (!defined $status) { my $words = consul($_[0], 'kv', 'get', '-keys', 'docker/'); return $? == 0 ? "$words\nready" : $words }
        $body =~ tr{\r\n}{ };
        return $status =~ /^(200|404)$/ ? 'ready' : "its agent answers with $status: $body";
    },
    'store-members' => sub {
        my $text = agent();
        answer(\$text);
        my ($status, $body) = answer(\$text);
        return consul($_[0], 'members') if ($status // '') ne '200';
        @members = sort { $$a{Name} cmp $$b{Name} } map { members($_) } elements($body);
        my %status = (1 => 'alive', 2 => 'leaving', 3 => 'left', 4 => 'failed');
        join "\n", 'Node Address Status', map { join ' ', word($$_{Name}), word($$_{Addr}) . ":$$_{Port}", $status{$$_{Status}} // 'none' } @members;
    },
    'consul-version' => sub {
        my $name = word(members(slurp('/etc/docker-cluster/consul/agent.json'))->{node_name});
        my ($own) = grep { word($$_{Name}) eq $name } @members;
        my $build = $own ? word(members($$own{Tags})->{build}) : '';
        $build =~ /^([^:]+)/ && runs(unit('docker-cluster-consul.service')->{MainPID} // '', $_[0]) ? "Consul v$1" : run($_[0], 'version');
    },
    'files' => sub { join "\n", map { my @s = stat $_; @s ? sprintf('%o %s %s', $s[2] & 07777, owner(@s), $_) : () } ours() },
    'sums' => sub { printed($sums) },
    'records' => sub { join "\n", map { slurp($_) } grep { m{/[^/.][^/]*\.json\z} && -f } in_folder('/var/lib/docker-cluster/record') },
    # Which start of its unit a file was written for, by the file's key in the record: one that is still the present start has not
    # read it yet.
    'written-before' => sub { join "\n", map { m{/([^/.][^/]*)\.start\z} ? "$1 " . (slurp($_) // '') =~ s/\n.*//sr : () } in_folder('/var/lib/docker-cluster/record') },
    'origins' => sub { join "\n", map { m{/([^/.][^/]*)\.origin\z} ? "$1 " . (slurp($_) // '') =~ s/\n.*//sr : () } in_folder('/var/lib/docker-cluster/record') },
    'endpoints' => sub {
        whole(map {
            my $it = members($_);
            my $whole = word($$it{Scope}) eq 'global' ? engine('/networks/' . word($$it{Id}), $ROOMY * $max) : undef;
            $lacks = 1 if word($$it{Scope}) eq 'global' && !defined $whole && $status ne '404';
            $whole // ();
        } list('/networks'));
    },
    # What a swarm has beside networks. Only a manager knows.
    'swarm-content' => sub {
        return '' if (members(members($info)->{Swarm})->{ControlAvailable} // '') ne 'true';
        my @all;
        for my $kind (qw(service secret config)) {
            push @all, map { my $spec = members(members($_)->{Spec}); join ' ', $kind, map { $_ // 'null' } $$spec{Name}, $$spec{Labels} } list("/${kind}s");
        }
        whole(sort { $a cmp $b } @all);
    },
    # Volumes of the engine's own driver, with their sizes if they are told in time, and the size of all layers.
    'volumes' => sub {
        return '' if !awake();
        my $list = engine('/volumes', $ROOMY * $max);
        $lacks = 1 if !defined $list;
        # Sizes may take long, and are worth no more than that.
        my $was = $late;
        my $use = members(engine('/system/df', 2 * $ROOMY * $max));
        $late = $was;
        my %size = map { my $it = members($_); (word($$it{Name}), members($$it{UsageData})->{Size} // '') } elements($$use{Volumes});
        my @own = grep { word($$_{Driver}) eq 'local' } map { members($_) } elements(members($list)->{Volumes});
        whole((sort { $a cmp $b } map { my $name = word($$_{Name}); "volume $name " . ($size{$name} // '') } @own), defined $$use{LayersSize} ? "layers $$use{LayersSize}" : ());
    },
    # Our own looks at the links and at the mesh of this host.
    'fabric-wrong' => sub { looked('fabric', 1, 'the links of this host could not be looked at') },
    'underlay' => sub { looked('underlay', 0, 'wrong the mesh of this host could not be looked at') },
    'user-exists' => sub { join ':', (getpwnam 'docker-cluster-store')[0, 2] },
);

my %roomy = map { ($_, $ROOMY * $max) } qw(containers networks endpoints images nodes swarm-content volumes);
sub section {
    my ($name, $text) = @_;
    my $most = $roomy{$name} // $max;
    $text //= '';
    if (length $text > $most) {
        # At the end of a line: half of one could be taken for another.
        $lacks = 1;
        $text = substr $text, 0, $most;
        $text =~ s/[^\n]*\z//;
    }
    $said{$name} = $text;
    $text =~ s/\n\z//;
    print "\@$name\n", (map { "|$_\n" } length $text ? split(/\n/, $text, -1) : ()), $lacks ? "!\n" : ();
    $lacks = 0;
}

# What others take their time for is begun before the first section is written, all at once, and waited for when its turn comes. The
# engine takes longest.
sub begin {
    my ($asks_engine, $asks_agent) = @_;
    if ($asks_engine && engine_pid()) {
        ask($_) for '/info', '/networks', '/images/json', '/containers/json?all=1';
    }
    $looking{$_} = look($_) for grep { -x "/usr/local/lib/docker-cluster/$_" && -f "/etc/docker-cluster/$_/config" } keys %looks;
    $asking = ask_agent() if $asks_agent;
    $ip = start("link show\naddr show\nroute show\n", qw(ip -o -batch -));
    if (my @all = (ours(), grep { -f } '/etc/docker/daemon.json')) { $sums = start('', 'sha256sum', @all) }
    $unpacking = start('', 'gzip', '-cd', '/proc/config.gz') if -r '/proc/config.gz' && grep { !-d "/sys/module/$$_[0]" } @MODULES;
}
# A command that the shell had begun.
sub finish {
    my ($name) = @_;
    my $started = delete $begun{$name} // return;
    section($name, printed($started));
}

my ($name, $text);
my $flush = sub { if (defined $name) { $text =~ s/\n\z//; section($name, $text); undef $name } };
while (my $line = <STDIN>) {
    if ($line =~ /^\Q$mark\E\?(\S*) (\S*)$/) { begin($1, $2) }
    elsif ($line =~ /^\Q$mark\E([=<!&])(\S+) ?(.*)$/) {
        my ($kind, $what, $rest) = ($1, $2, $3);
        $flush->();
        if ($what eq 'end') { finish($_) for sort keys %begun }
        if ($kind eq '=') { ($name, $text) = ($what, '') }
        elsif ($kind eq '<') { section($what, slurp($rest)) }
        elsif ($kind eq '&') { $begun{$what} = start('', split / /, $rest) }
        else {
            my $found;
            eval { $found = $native{$what}->($rest); 1 } or $lacks = 1;
            section($what, $found);
        }
    } elsif (defined $name) {
        # What is too long is cut, and said to be, by `section`.
        $text .= $line if length $text <= $max;
    }
}
$flush->();
