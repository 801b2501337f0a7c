/* java EchoClient.java CA PORT TARGET VERSION: over wss://localhost:PORT raw bytes go to an echo at 127.0.0.1:TARGET
   and come back the same; then an HTTP reply is read to its end, which TLS must tell. Writes "good". */

import java.io.ByteArrayOutputStream;
import java.io.FileInputStream;
import java.io.InputStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.WebSocket;
import java.nio.ByteBuffer;
import java.security.KeyStore;
import java.security.cert.CertificateFactory;
import java.util.Arrays;
import java.util.Random;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionStage;
import java.util.concurrent.TimeUnit;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLParameters;
import javax.net.ssl.SSLSocket;
import javax.net.ssl.TrustManagerFactory;

public class EchoClient {
    static final int PIECE = 100000, PIECES = 20;

    static class Echo implements WebSocket.Listener {
        final ByteArrayOutputStream received = new ByteArrayOutputStream();
        final CompletableFuture<Integer> closed = new CompletableFuture<>();
        final CompletableFuture<Void> complete = new CompletableFuture<>();

        @Override public CompletionStage<?> onBinary(WebSocket socket, ByteBuffer data, boolean last) {
            byte[] bytes = new byte[data.remaining()];
            data.get(bytes);
            received.writeBytes(bytes);
            if (received.size() == PIECE * PIECES) complete.complete(null);
            socket.request(1);
            return null;
        }

        @Override public CompletionStage<?> onClose(WebSocket socket, int code, String reason) {
            closed.complete(code);
            return null;
        }

        @Override public void onError(WebSocket socket, Throwable error) {
            complete.completeExceptionally(error);
            closed.completeExceptionally(error);
        }
    }

    static SSLContext trusting(String path) throws Exception {
        KeyStore store = KeyStore.getInstance(KeyStore.getDefaultType());
        store.load(null, null);
        try (InputStream file = new FileInputStream(path)) {
            store.setCertificateEntry("ca", CertificateFactory.getInstance("X.509").generateCertificate(file));
        }
        TrustManagerFactory factory = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        factory.init(store);
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(null, factory.getTrustManagers(), null);
        return context;
    }

    static void echo(SSLContext context, String version, String port, String target) throws Exception {
        HttpClient client = HttpClient.newBuilder().sslContext(context)
            .sslParameters(new SSLParameters(null, new String[] {version})).build();
        Echo echo = new Echo();
        WebSocket socket = client.newWebSocketBuilder()
            .buildAsync(URI.create("wss://localhost:" + port + "/127.0.0.1:" + target), echo).get(20, TimeUnit.SECONDS);
        byte[] data = new byte[PIECE * PIECES];
        new Random(1).nextBytes(data);
        for (int i = 0; i < PIECES; i++) {
            socket.sendBinary(ByteBuffer.wrap(data, i * PIECE, PIECE), true).get(20, TimeUnit.SECONDS);
        }
        echo.complete.get(20, TimeUnit.SECONDS);
        if (!Arrays.equals(data, echo.received.toByteArray())) throw new Exception("other bytes have come");
        socket.sendClose(WebSocket.NORMAL_CLOSURE, "").get(20, TimeUnit.SECONDS);
        int code = echo.closed.get(20, TimeUnit.SECONDS);
        if (code != 1000) throw new Exception("closed with " + code);
    }

    static void read(SSLContext context, String version, String port) throws Exception {
        try (SSLSocket socket = (SSLSocket) context.getSocketFactory().createSocket("localhost", Integer.parseInt(port))) {
            socket.setEnabledProtocols(new String[] {version});
            socket.setSoTimeout(20000);
            socket.getOutputStream().write("GET /healthz HTTP/1.0\r\n\r\n".getBytes("US-ASCII"));
            socket.shutdownOutput();
            String reply = new String(socket.getInputStream().readAllBytes(), "US-ASCII");
            if (!reply.endsWith("\r\n\r\nok")) throw new Exception(reply);
        }
    }

    public static void main(String[] arguments) throws Exception {
        SSLContext context = trusting(arguments[0]);
        echo(context, arguments[3], arguments[1], arguments[2]);
        read(context, arguments[3], arguments[1]);
        System.out.println("good");
        System.exit(0);
    }
}
