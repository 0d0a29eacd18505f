package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"roster/auth"
	"roster/models"
)

// tokenCommand is "roster token".
type tokenCommand struct {
	secretSettings `embed:""`
	Subject        string        `name:"sub" required:"" placeholder:"NAME" help:"Who the token is for."`
	Customers      []string      `name:"customer" placeholder:"ID" help:"A customer that may be read: its UUID or number. Can be repeated."`
	Authorities    []string      `name:"authority" placeholder:"NAME" help:"An authority such as ROLE_COMPANY_ADMIN, or several with commas between them. Can be repeated."`
	TTL            time.Duration `name:"ttl" default:"1h" placeholder:"TIME" help:"How long the token is good."`
}

// Run prints a token. It must be accepted by a server with the same settings.
func (c *tokenCommand) Run(ctx context.Context, p *stdio) error {
	if c.TTL <= 0 {
		return fmt.Errorf("--ttl is %s; it must be more than 0", c.TTL)
	}
	err := c.require()
	if c.Secret == "" {
		err = errors.Join(err, errors.New("--jwt-secret (ROSTER_JWT_SECRET) is not set: the key that signs the token"))
	}
	if err != nil {
		return err
	}
	// What a server would not start with cannot sign a token either.
	issuer := c.issuer()
	if _, err := auth.NewVerifier(ctx, slog.New(slog.DiscardHandler), issuer); err != nil {
		return err
	}
	caller := auth.Principal{Subject: c.Subject, Authorities: c.Authorities, ExpiresAt: time.Now().Add(c.TTL)}
	for _, customer := range c.Customers {
		if err := nameCustomer(&caller, customer); err != nil {
			return err
		}
	}
	token, err := issuer.Sign(caller)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(p.stdout, token)
	return err
}

// nameCustomer adds a customer, by UUID or number, to those that the caller may read.
func nameCustomer(caller *auth.Principal, customer string) error {
	if number, err := strconv.ParseInt(customer, 10, 64); err == nil && number > 0 {
		caller.CustomerNumbers = append(caller.CustomerNumbers, number)
		return nil
	}
	id, err := models.ParseID(customer)
	if err != nil {
		return errors.New("--customer must be a UUID or a number of 1 or more")
	}
	caller.CustomerIDs = append(caller.CustomerIDs, id)
	return nil
}
