// The recipe against a real server: `make test-go`.
package pounce

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	pb "pounce/v1"
)

const posts = 400

// codec is what gRPC does by itself since 1.40: Debian's is older than the messages' library.
type codec struct{}

func (codec) Marshal(message interface{}) ([]byte, error) {
	return proto.Marshal(message.(proto.Message))
}
func (codec) Unmarshal(bytes []byte, message interface{}) error {
	return proto.Unmarshal(bytes, message.(proto.Message))
}
func (codec) Name() string { return "proto" }

// serve starts a server and waits until it is ready.
func serve(t *testing.T, address string, flags ...string) *exec.Cmd {
	t.Helper()
	fixed := []string{
		"serve", "--grpc-addr", address, "--http-addr", "127.0.0.1:0", "--model", os.Getenv("POUNCE_MODEL"),
		"--workers", "1", "--drain-notice", "0",
	}
	server := exec.Command(os.Getenv("POUNCE"), append(fixed, flags...)...)
	log, err := server.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Process.Kill() })
	lines := bufio.NewScanner(log)
	for lines.Scan() {
		var line struct{ Message string }
		if json.Unmarshal(lines.Bytes(), &line) == nil && line.Message == "serving" {
			// Reads on, so that the server never waits for a reader.
			go func() {
				for lines.Scan() {
				}
			}()
			return server
		}
	}
	t.Fatal("the server did not start")
	return nil
}

func end(t *testing.T, server *exec.Cmd, signal syscall.Signal) {
	t.Helper()
	server.Process.Signal(signal)
	err := server.Wait()
	if signal == syscall.SIGTERM && err != nil {
		t.Errorf("not a clean drain: %v", err)
	}
}

func freeAddress(t *testing.T) string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

// score sends all posts; at is called after so many replies.
func score(t *testing.T, address string, pause time.Duration, at map[int]func()) {
	t.Helper()
	conn, err := grpc.Dial(address, grpc.WithInsecure(), grpc.WithDefaultCallOptions(grpc.ForceCodec(codec{})))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	input := make(chan *pb.Post)
	go func() {
		defer close(input)
		for n := 0; n < posts; n++ {
			if n%10 == 0 {
				time.Sleep(pause)
			}
			input <- &pb.Post{Id: fmt.Sprint(n), Text: fmt.Sprintf("parcel %d is late", n)}
		}
	}()
	var acts sync.WaitGroup
	answered := 0
	options := Options{InFlight: 32, Patience: time.Minute}
	err = ScoreAll(context.Background(), conn, input, options, func(reply Reply) error {
		if reply.Event.GetPostId() != fmt.Sprint(answered) {
			return fmt.Errorf("%v came where post %d was due", reply, answered)
		}
		answered++
		if act := at[answered]; act != nil {
			acts.Add(1)
			go func() {
				defer acts.Done()
				act()
			}()
		}
		return nil
	})
	acts.Wait()
	if err != nil || answered != posts {
		t.Fatalf("%d of %d posts answered: %v", answered, posts, err)
	}
}

func TestADrainAndACrashCostNoPostAndAnswerNoneTwice(t *testing.T) {
	address := freeAddress(t)
	server := serve(t, address)
	replace := func(signal syscall.Signal) func() {
		return func() {
			end(t, server, signal)
			server = serve(t, address)
		}
	}
	score(t, address, 20*time.Millisecond, map[int]func(){100: replace(syscall.SIGTERM), 250: replace(syscall.SIGKILL)})
	end(t, server, syscall.SIGTERM)
}

func TestStreamsThatReachTheirAgeMoveOn(t *testing.T) {
	address := freeAddress(t)
	server := serve(t, address, "--stream-age-max", "1")
	score(t, address, 100*time.Millisecond, nil)
	end(t, server, syscall.SIGTERM)
}
