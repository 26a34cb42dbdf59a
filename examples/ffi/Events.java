// Appends three records to a log and reads them back, through libstyx and JNA.
//
// Shows: calling styx.h from Java 17 or later. JNA is one jar (Debian: libjna-java).
//
//     java -cp /usr/share/java/jna.jar examples/ffi/Events.java orders
//
// LD_LIBRARY_PATH or -Djna.library.path may name the directory of libstyx.so.

import com.sun.jna.Library;
import com.sun.jna.Native;
import com.sun.jna.Pointer;
import com.sun.jna.Structure;
import com.sun.jna.ptr.PointerByReference;
import java.nio.charset.StandardCharsets;

public class Events {
    public interface Styx extends Library {
        Pointer styx_client_connect(String address, Pointer options, PointerByReference client);
        Pointer styx_create_log(
                Pointer client, String name, Pointer config, long configSize, byte existOk,
                Pointer info, long infoSize);
        Pointer styx_producer_open(
                Pointer client, String log, Pointer options, PointerByReference producer);
        Pointer styx_producer_append(Pointer producer, byte[] data, long size, Pointer sequence);
        Pointer styx_producer_close(Pointer producer, long timeoutMs);
        Pointer styx_consumer_open(
                Pointer client, String log, Pointer options, PointerByReference consumer);
        Pointer styx_consumer_poll(
                Pointer consumer, long maxRecords, long timeoutMs, PointerByReference batch);
        byte styx_consumer_ended(Pointer consumer);
        byte styx_batch_get(Pointer batch, long index, Record record, long size);
        String styx_error_message(Pointer error);
        void styx_error_free(Pointer error);
        void styx_batch_free(Pointer batch);
        void styx_consumer_free(Pointer consumer);
        void styx_producer_free(Pointer producer);
        void styx_client_free(Pointer client);
    }

    @Structure.FieldOrder({"data", "size", "position", "timestamp"})
    public static class Record extends Structure {
        public Pointer data;
        public long size;
        public long position;
        public long timestamp;
    }

    private static final Styx STYX = Native.load("styx", Styx.class);

    private static void check(Pointer error) {
        if (error != null) {
            String message = STYX.styx_error_message(error);
            STYX.styx_error_free(error);
            throw new IllegalStateException(message);
        }
    }

    public static void main(String[] arguments) {
        String log = arguments[0];
        PointerByReference out = new PointerByReference();
        check(STYX.styx_client_connect(null, null, out));
        Pointer client = out.getValue();
        check(STYX.styx_create_log(client, log, null, 0, (byte) 1, null, 0));

        check(STYX.styx_producer_open(client, log, null, out));
        Pointer producer = out.getValue();
        for (String text : new String[] {"one", "two", "three"}) {
            byte[] payload = text.getBytes(StandardCharsets.UTF_8);
            check(STYX.styx_producer_append(producer, payload, payload.length, null));
        }
        check(STYX.styx_producer_close(producer, -1));

        check(STYX.styx_consumer_open(client, log, null, out));
        Pointer consumer = out.getValue();
        Record record = new Record();
        while (STYX.styx_consumer_ended(consumer) == 0) {
            check(STYX.styx_consumer_poll(consumer, 0, -1, out));
            Pointer batch = out.getValue();
            for (long i = 0; STYX.styx_batch_get(batch, i, record, record.size()) != 0; i++) {
                byte[] payload = record.data.getByteArray(0, (int) record.size);
                System.out.println(record.position + " " + new String(payload, StandardCharsets.UTF_8));
            }
            STYX.styx_batch_free(batch);
        }
        STYX.styx_consumer_free(consumer);
        STYX.styx_producer_free(producer);
        STYX.styx_client_free(client);
    }
}
