// Appends three records to a log and reads them back, through libstyx and cgo.
//
// Shows: calling styx.h from Go. A goroutine that waits in C holds a thread of the system.
//
//	go run examples/ffi/events.go orders
//
// PKG_CONFIG_PATH and LD_LIBRARY_PATH may name the directories of styx.pc and libstyx.so.1.
package main

/*
#cgo pkg-config: styx
#include <stdlib.h>
#include <styx.h>
*/
import "C"

import (
	"fmt"
	"os"
	"unsafe"
)

// check ends the program if a function has failed.
func check(err *C.styx_error) {
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %s\n", C.GoString(C.styx_error_name(err)), C.GoString(C.styx_error_message(err)))
		os.Exit(1)
	}
}

func main() {
	log := C.CString(os.Args[1])
	defer C.free(unsafe.Pointer(log))

	var client *C.styx_client
	check(C.styx_client_connect(nil, nil, &client))
	defer C.styx_client_free(client)
	check(C.styx_create_log(client, log, nil, 0, true, nil, 0))

	var producer *C.styx_producer
	check(C.styx_producer_open(client, log, nil, &producer))
	defer C.styx_producer_free(producer)
	for _, payload := range [][]byte{[]byte("one"), []byte("two"), []byte("three")} {
		// The library copies the payload before it returns.
		check(C.styx_producer_append(producer, (*C.uint8_t)(&payload[0]), C.size_t(len(payload)), nil))
	}
	check(C.styx_producer_close(producer, -1))

	var consumer *C.styx_consumer
	check(C.styx_consumer_open(client, log, nil, &consumer))
	defer C.styx_consumer_free(consumer)
	for !C.styx_consumer_ended(consumer) {
		var batch *C.styx_batch
		check(C.styx_consumer_poll(consumer, 0, -1, &batch))
		var record C.styx_record
		for i := C.size_t(0); C.styx_batch_get(batch, i, &record, C.sizeof_styx_record); i++ {
			// A view of the batch's memory: valid until the batch is freed.
			payload := unsafe.Slice((*byte)(record.data), int(record.size))
			fmt.Println(uint64(record.position), string(payload))
		}
		C.styx_batch_free(batch)
	}
}
