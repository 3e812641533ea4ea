// SPDX-License-Identifier: Apache-2.0

package discovery

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"css_vpcep_exporter/internal/cloud"
	"css_vpcep_exporter/internal/iam"
)

// longestListRetry bounds the back-off after failed listings of an account.
const longestListRetry = 5 * time.Minute

var errTooMany = errors.New("the account has more projects than one entry may have; left out")

// Account is an entry of the configuration file whose projects IAM lists.
type Account struct {
	Key     string // unique; it says which account of Apply continues which
	Name    string
	Lister  *iam.Account
	Initial []iam.Listed // the projects of a new account until the first listing, which must confirm them
	LeftOut int          // projects that are too many to be read
}

type account struct {
	*Account
	accountState

	stop context.CancelFunc
}

// accountState is what an account keeps when its configuration changes.
type accountState struct {
	since   time.Time
	known   []iam.Listed
	missed  map[string]int // listings in a row without a project of known, by ID
	pending bool           // known has changed, and Apply does not have it yet
	read    bool           // listed completely once
	tried   bool
	err     error
	lastOK  time.Time
}

// AccountState is the result of an account's listings.
type AccountState struct {
	Account     *Account
	Tried       bool
	Err         error
	LastSuccess time.Time // may be zero
	Projects    int
}

// OnListing sets the function that applies the projects of accounts after they have changed. Call it before Run and
// Refresh.
func (f *Fleet) OnListing(apply func() error) { f.onListing = apply }

// KnownProjects returns the projects of an account, and false if there is no such account yet.
func (f *Fleet) KnownProjects(accountKey string) ([]iam.Listed, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, a := range f.accounts {
		if a.Key == accountKey {
			return a.known, true
		}
	}
	return nil, false
}

// Accounts returns the states of all accounts, in order.
func (f *Fleet) Accounts() []AccountState {
	f.mu.Lock()
	defer f.mu.Unlock()
	states := make([]AccountState, len(f.accounts))
	for i, a := range f.accounts {
		states[i] = AccountState{Account: a.Account, Tried: a.tried, Err: a.err, LastSuccess: a.lastOK}
		if a.err == nil && a.LeftOut > 0 {
			states[i].Err = fmt.Errorf("%w: %d", errTooMany, a.LeftOut)
		}
		for _, p := range f.projects {
			if p.Account == a.Key {
				states[i].Projects++
			}
		}
	}
	return states
}

// applyAccounts replaces the accounts. Those with the same Key keep their projects. The caller holds f.mu.
func (f *Fleet) applyAccounts(accounts []Account) {
	before := make(map[string]*account, len(f.accounts))
	for _, a := range f.accounts {
		before[a.Key] = a
	}
	f.accounts = nil
	for _, config := range accounts {
		old := before[config.Key]
		if old != nil && old.Lister == config.Lister {
			delete(before, config.Key)
			old.Account = &config // its listings continue
			f.accounts = append(f.accounts, old)
			continue
		}
		a := &account{Account: &config, accountState: accountState{since: time.Now()}}
		if old != nil {
			a.accountState = old.accountState
		} else {
			a.known, a.missed = config.Initial, make(map[string]int)
			for _, p := range config.Initial {
				a.missed[p.ID] = maxMissed - 1
			}
		}
		f.accounts = append(f.accounts, a)
		if f.startAccount != nil {
			f.startAccount(a)
		}
	}
	for _, replaced := range before {
		if replaced.stop != nil {
			replaced.stop()
		}
	}
}

// keepListed lists the projects of an account until ctx is done.
func (f *Fleet) keepListed(ctx context.Context, a *account, config *Account) {
	retry := firstRetryDelay
	for {
		at, err := f.list(ctx, a, config)
		wait := iam.ListInterval - time.Since(at)
		switch {
		case err == nil:
			retry = firstRetryDelay
		case !errors.Is(err, iam.ErrIncomplete) || !f.wasListed(a): // an incomplete list is the next one, too
			wait, retry = jitter(retry), min(2*retry, longestListRetry)
		}
		if !cloud.Sleep(ctx, wait) {
			return
		}
	}
}

func (f *Fleet) wasListed(a *account) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return a.read
}

// list lists the projects once, and has changed ones applied. It returns the time of the list.
func (f *Fleet) list(ctx context.Context, a *account, config *Account) (time.Time, error) {
	list, at, err := config.Lister.Projects(ctx)
	f.mu.Lock()
	if errors.Is(ctx.Err(), context.Canceled) { // replaced, or stopped
		f.mu.Unlock()
		return at, err
	}
	a.recordListing(list, err)
	pending := a.pending
	f.mu.Unlock()
	var applyErr error
	if pending {
		applyErr = f.onListing() // may wait for a reload, which then has the list
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if errors.Is(ctx.Err(), context.Canceled) {
		return at, err
	}
	switch {
	case applyErr != nil:
		err = applyErr
	case err == nil:
		a.read, a.lastOK = true, at
		fallthrough
	default:
		a.pending = false
	}
	projects := 0
	for _, p := range f.projects {
		if p.Account == a.Key {
			projects++
		}
	}
	a.recordResult(err, projects, f.logger.With("project", config.Name))
	return at, err
}

// recordListing replaces the known projects. Those that are missing from maxMissed lists in a row are dropped, and those
// of another account at once.
func (a *account) recordListing(list []iam.Listed, err error) {
	if err != nil && !errors.Is(err, iam.ErrIncomplete) {
		return
	}
	listed := make(map[string]iam.Listed, len(list))
	domains := make(map[string]struct{})
	for _, p := range list {
		listed[p.ID] = p
		domains[p.DomainID] = struct{}{}
	}
	_, unknownDomain := domains[""]
	missed := make(map[string]int)
	known := make([]iam.Listed, 0, len(list))
	for _, p := range a.known { // first, so that their order is kept
		now, ok := listed[p.ID]
		_, sameDomain := domains[p.DomainID]
		foreign := len(list) > 0 && p.DomainID != "" && !sameDomain && !unknownDomain
		switch {
		case ok:
			delete(listed, p.ID)
			known = append(known, now)
		case !foreign && a.missed[p.ID]+1 < maxMissed:
			missed[p.ID] = a.missed[p.ID] + 1
			known = append(known, p)
		}
	}
	for _, p := range list {
		if _, isNew := listed[p.ID]; isNew {
			known = append(known, p)
		}
	}
	a.pending = a.pending || !slices.Equal(known, a.known)
	a.known, a.missed = known, missed
}

func (a *account) recordResult(err error, projects int, logger *slog.Logger) {
	first, before, reason := !a.tried, reasonOf(a.err), reasonOf(err)
	a.tried, a.err = true, err
	switch {
	case !first && before == reason:
	case err != nil:
		logger.Warn("Listing the account's projects failed", logFields(err)...)
	default:
		logger.Info("Account's projects listed", "projects", projects)
	}
}
