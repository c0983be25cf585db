package main

import (
	"context"
	"errors"
)

const createClients = 16

var errTODO = errors.New("todo")

func measureHistory(ctx context.Context, l *lab) (result, error)  { return result{}, errTODO }
func measureSnapshot(ctx context.Context, l *lab) (result, error) { return result{}, errTODO }
func measureCreate(ctx context.Context, l *lab) (result, error)   { return result{}, errTODO }
func measureRiver(ctx context.Context, l *lab) (result, error)    { return result{}, errTODO }
func measureHanging(ctx context.Context, l *lab) (result, error)  { return result{}, errTODO }
func measureDeepLane(ctx context.Context, l *lab) (result, error) { return result{}, errTODO }
func measureLatency(ctx context.Context, l *lab) (result, error)  { return result{}, errTODO }
func measureWAL(ctx context.Context, l *lab) (result, error)      { return result{}, errTODO }
func measureMemory(ctx context.Context, l *lab) (result, error)   { return result{}, errTODO }
