<?php // What a PHP site does: sessions in files, child processes, names.
if ($_SERVER["REQUEST_URI"] !== "/probe") {
    echo "hello from php " . PHP_VERSION . "\n";
    return;
}
function probe($name, $f)
{
    try {
        echo $name . "=" . ($f() === true ? "ok" : "wrong") . "\n";
    } catch (Throwable $e) {
        echo $name . "=" . $e->getMessage() . "\n";
    }
}
set_error_handler(function ($no, $text) { throw new ErrorException($text); });
probe("child", fn() => shell_exec("echo child") === "child\n");
probe("process", function () {
    $p = proc_open(["/bin/cat"], [["pipe", "r"], ["pipe", "w"]], $pipes);
    fwrite($pipes[0], "x");
    fclose($pipes[0]);
    $got = stream_get_contents($pipes[1]);
    proc_close($p);
    return $got === "x";
});
probe("name", fn() => gethostbyname("localhost") === "127.0.0.1");
probe("file", fn() => file_put_contents($f = tempnam(sys_get_temp_dir(), "t"), "x") === 1 && unlink($f));
probe("session", fn() => session_save_path(sys_get_temp_dir()) !== false && session_start() && session_destroy());
probe("random", fn() => password_verify("x", password_hash(bin2hex(random_bytes(4)), PASSWORD_BCRYPT, ["cost" => 4])) === false);
probe("socket", fn() => is_resource(stream_socket_server("tcp://127.0.0.1:0")));
