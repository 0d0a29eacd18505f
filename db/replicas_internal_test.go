package db

import (
	"testing"
	"time"
)

// A replica that has replayed what its primary never wrote is left out for as long as it
// stays there. One that was made anew from the primary is used.
func TestReplicaThatFollowsAgainIsUsed(t *testing.T) {
	state := serverState{position: 100, system: 1, role: "r", database: "d"}
	r := &replicas{maxLag: time.Minute}
	r.history.note(time.Now(), state, r.maxLag)
	strayed := &replica{divergedAt: 150}
	state.inRecovery = true
	for position, used := range map[int64]bool{150: false, 100: true} {
		state.position = position
		if err := r.judge(strayed, state); (err == nil) != used {
			t.Errorf("at %d: %v", position, err)
		}
	}
}
