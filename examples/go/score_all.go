// Package pounce scores posts over as many streams as it takes: the loop of docs/clients.md. Copy it,
// with the stubs that protoc generates.
package pounce

import (
	"context"
	"fmt"
	"io"
	"math/rand"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "pounce/v1"
)

// Reply is the answer to one post, in the order of the posts: one of the two is set.
type Reply struct {
	Event     *pb.ScoredEvent
	Rejection *pb.Rejection
}

// Options bound a job.
type Options struct {
	// InFlight is how many posts may be sent and not yet answered.
	InFlight int
	// Patience is the time for which streams may fail, without a reply between, until the job is
	// given up.
	Patience time.Duration
}

const (
	pauseFirst = 50 * time.Millisecond
	pauseMax   = 2 * time.Second
)

// ScoreAll gives one reply for each post, in order, through drains, restarts and the age of streams. It
// returns when posts is closed and every post is answered, or with the first error of handle.
func ScoreAll(
	ctx context.Context, conn grpc.ClientConnInterface, posts <-chan *pb.Post, options Options,
	handle func(Reply) error,
) error {
	job := job{posts: posts, inFlight: options.InFlight, handle: handle}
	client := pb.NewScoringServiceClient(conn)
	pause := pauseFirst
	var failingSince time.Time
	for {
		if more, err := job.hasWork(ctx); err != nil || !more {
			return err
		}
		replies, err := job.stream(ctx, client)
		if replies > 0 {
			pause, failingSince = pauseFirst, time.Time{}
			if err == nil {
				continue // The server moves us on.
			}
		}
		if err == nil {
			err = status.Error(codes.Unavailable, "the stream ended early")
		}
		if job.failed != nil {
			return job.failed
		}
		if ctx.Err() != nil || final(status.Code(err)) {
			return err
		}
		if failingSince.IsZero() {
			failingSince = time.Now()
		}
		if time.Since(failingSince) >= options.Patience {
			return err
		}
		select {
		case <-time.After(pause + time.Duration(rand.Int63n(int64(pause)))):
		case <-ctx.Done():
			return ctx.Err()
		}
		if pause *= 2; pause > pauseMax {
			pause = pauseMax
		}
	}
}

// final tells statuses that another attempt will not change.
func final(code codes.Code) bool {
	switch code {
	case codes.Unavailable, codes.Unknown, codes.Internal, codes.Canceled, codes.Aborted, codes.ResourceExhausted:
		return false
	}
	return true
}

type job struct {
	inFlight int
	handle   func(Reply) error
	// failed is the error of handle.
	failed error

	mutex sync.Mutex
	// posts is nil once it was closed.
	posts <-chan *pb.Post
	// unanswered posts were sent, or are sent first on the next stream; their replies alone remove them.
	unanswered []*pb.Post
}

// hasWork waits for a post if none is unanswered: no stream is needed until then.
func (j *job) hasWork(ctx context.Context) (bool, error) {
	if len(j.unanswered) > 0 || j.posts == nil {
		return len(j.unanswered) > 0, nil
	}
	select {
	case post, open := <-j.posts:
		if !open {
			j.posts = nil
			return false, nil
		}
		j.unanswered = append(j.unanswered, post)
		return true, nil
	case <-ctx.Done():
		return false, ctx.Err()
	}
}

// stream opens one stream and reads it to its end; it tells how many posts were answered.
func (j *job) stream(ctx context.Context, client pb.ScoringServiceClient) (int, error) {
	ctx, cancel := context.WithCancel(ctx)
	stream, err := client.ScoreStream(ctx)
	if err != nil {
		cancel()
		return 0, err
	}
	room := make(chan struct{}, j.inFlight)
	for range j.unanswered {
		room <- struct{}{}
	}
	drained, sent := make(chan struct{}), make(chan struct{})
	var drain sync.Once
	go func() {
		defer close(sent)
		j.send(stream, append([]*pb.Post(nil), j.unanswered...), room, drained)
	}()
	defer func() {
		drain.Do(func() { close(drained) })
		cancel()
		<-sent
	}()
	replies := 0
	for {
		message, err := stream.Recv()
		if err == io.EOF {
			return replies, nil
		}
		if err != nil {
			return replies, err
		}
		if message.GetDrain() != nil {
			drain.Do(func() { close(drained) })
			continue
		}
		reply := Reply{Event: message.GetEvent(), Rejection: message.GetRejection()}
		sequence := reply.Event.GetSequence()
		if rejection := reply.Rejection; rejection != nil {
			sequence = rejection.Sequence
			if sequence == 0 {
				return replies, status.Error(codes.InvalidArgument, rejection.Reason)
			}
			if rejection.Code == pb.RejectionCode_REJECTION_CODE_UNAVAILABLE {
				return replies, status.Error(codes.Unavailable, rejection.Reason)
			}
		} else if reply.Event == nil {
			continue // The summary, before the end.
		}
		if sequence != uint64(replies+1) {
			fault := fmt.Sprintf("reply %d came where %d was due", sequence, replies+1)
			return replies, status.Error(codes.DataLoss, fault)
		}
		replies++
		j.mutex.Lock()
		j.unanswered = j.unanswered[1:]
		j.mutex.Unlock()
		<-room
		if j.failed = j.handle(reply); j.failed != nil {
			return replies, j.failed
		}
	}
}

// send writes what is unanswered and then further posts, until a drain or the end of the posts. An
// error of the stream shows where it is read.
func (j *job) send(
	stream pb.ScoringService_ScoreStreamClient, unanswered []*pb.Post, room chan struct{}, drained <-chan struct{},
) {
	defer stream.CloseSend()
	options := &pb.StreamOptions{PostsInFlightMax: uint32(j.inFlight)}
	if stream.Send(&pb.ScoreStreamRequest{Request: &pb.ScoreStreamRequest_Options{Options: options}}) != nil {
		return
	}
	write := func(post *pb.Post) error {
		return stream.Send(&pb.ScoreStreamRequest{Request: &pb.ScoreStreamRequest_Post{Post: post}})
	}
	for _, post := range unanswered {
		if write(post) != nil {
			return
		}
	}
	for j.posts != nil {
		select {
		case room <- struct{}{}:
		case <-drained:
			return
		}
		select {
		case post, open := <-j.posts:
			if !open {
				j.posts = nil
				return
			}
			j.mutex.Lock()
			j.unanswered = append(j.unanswered, post)
			j.mutex.Unlock()
			if write(post) != nil {
				return
			}
		case <-drained:
			return
		}
	}
}
