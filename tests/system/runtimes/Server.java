// What a Java server does; started from its source, so that the compiler runs as well.
import com.sun.net.httpserver.HttpServer;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.NetworkInterface;
import java.nio.file.Files;
import java.security.SecureRandom;
import java.util.LinkedHashMap;
import java.util.concurrent.Executors;
import java.util.stream.IntStream;

public class Server {
    interface Probe { void run() throws Exception; }

    static void check(boolean ok, String what) { if (!ok) throw new IllegalStateException(what); }

    public static void main(String[] args) throws Exception {
        var probes = new LinkedHashMap<String, Probe>();
        probes.put("thread", () -> check(Executors.newFixedThreadPool(4).submit(() -> 42).get() == 42, "thread"));
        probes.put("parallel", () -> check(IntStream.range(0, 100000).parallel().sum() == 704982704, "sum"));
        probes.put("child", () -> {
            var p = new ProcessBuilder("/bin/sh", "-c", "echo child").start();
            check(new String(p.getInputStream().readAllBytes()).equals("child\n"), "child");
            check(p.waitFor() == 0, "exit");
        });
        probes.put("name", () -> check(InetAddress.getByName("localhost").isLoopbackAddress(), "name"));
        probes.put("file", () -> { var d = Files.createTempDirectory("t"); Files.writeString(d.resolve("x"), "x"); Files.delete(d.resolve("x")); Files.delete(d); });
        probes.put("random", () -> new SecureRandom().nextBytes(new byte[16]));
        probes.put("interfaces", () -> check(NetworkInterface.getByName("eth0") != null, "no eth0"));
        probes.put("heap", () -> {
            // the heap's bound lies below what the instance may use, so that the collector runs before the kernel kills
            long may = Long.parseLong(System.getenv().getOrDefault("TULOU_MEMORY", "0")), heap = Runtime.getRuntime().maxMemory();
            check(may == 0 || heap <= may, "heap " + heap + " of " + may);
            byte[] keep = null;
            for (long done = 0; done < 2 * may; done += 1 << 20) keep = new byte[1 << 20];
            check(keep != null, "garbage");
        });
        var server = HttpServer.create(new InetSocketAddress("0.0.0.0", Integer.parseInt(System.getenv("PORT"))), 128);
        server.setExecutor(Executors.newFixedThreadPool(4));
        server.createContext("/", x -> {
            var text = new StringBuilder();
            if (x.getRequestURI().getPath().equals("/probe"))
                probes.forEach((name, probe) -> {
                    try { probe.run(); text.append(name + "=ok\n"); } catch (Throwable e) { text.append(name + "=" + e.toString().replace('\n', ' ') + "\n"); }
                });
            else
                text.append("hello from java " + System.getProperty("java.version") + "\n");
            byte[] b = text.toString().getBytes();
            x.sendResponseHeaders(200, b.length);
            x.getResponseBody().write(b);
            x.close();
        });
        Runtime.getRuntime().addShutdownHook(new Thread(() -> { System.out.println("bye"); System.out.flush(); Runtime.getRuntime().halt(0); }));
        server.start();
    }
}
